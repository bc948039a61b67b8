"""Tests that share something costly run in one process."""

import os

import pytest

from tests.engine.setups import SETUPS
from tests.groups import ROOT, SERVER, group_of


@pytest.mark.parametrize("name", SETUPS)
def test_an_engine_is_told_by_the_id_of_a_test(name):
    for test in (f"test_a[{name}]", f"test_a[soft, bound-{name}]", f"test_a[{name}-thinking]"):
        assert group_of(f"tests/engine/test_traces.py::{test}") == f"engine {name}"


def test_other_groups():
    assert group_of("tests/engine/test_server.py::test_a[soft_thinkng]") == "server"
    assert group_of("tests/unit/test_sampler.py::test_a") == "imports"
    assert group_of("tests/unit/test_trace.py::test_a[default]") == "tests/unit/test_trace.py"
    assert all((ROOT / file).exists() for file in SERVER)


def test_a_test_without_the_marker_cannot_start_an_engine():
    """What the plugin reads at the start of an engine or server is refused."""
    from sglang_soft.server.settings import from_env

    with pytest.raises(ValueError, match="a test without the marker `engine`"):
        from_env(os.environ)
