"""Whole decode steps of every method on a CUDA device: equal to the CPU's, and to each row alone."""

import pytest

from tests.unit import step_cases

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("sampling", step_cases.SAMPLINGS, ids=lambda s: f"top_k={s.top_k}")
def test_steps_of_every_method(cuda, sampling, monkeypatch):
    step_cases.check_steps(sampling, cuda, monkeypatch)
