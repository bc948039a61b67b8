"""Shared fixtures. One engine serves many tests: pytest groups tests by the `engine` parameter they
ask for."""

import os
from collections.abc import Iterator

import pytest

from tests.engine.setups import SETUPS, EngineUnderTest, Setup
from tests.models import tiny


def pytest_configure(config: pytest.Config) -> None:
    # Nothing here may wait for a hub, and a tiny model is only slowed by OpenMP's barriers.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    config.addinivalue_line("filterwarnings", "ignore::DeprecationWarning")
    config.addinivalue_line("filterwarnings", "ignore::UserWarning")


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory):
    """Folder in which tiny models are built once a session."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest, model_dir) -> Iterator[EngineUnderTest]:
    """A real SGLang engine. Parametrise indirectly with names of `tests.engine.setups.SETUPS`."""
    setup: Setup = SETUPS[request.param]
    under_test = EngineUnderTest(setup, tiny.build(setup.family, model_dir))
    try:
        yield under_test
    finally:
        under_test.shutdown()


def on(*names: str, **kwargs) -> pytest.MarkDecorator:
    """Run a test once for each named engine setup."""
    return pytest.mark.parametrize("engine", names, indirect=True, scope="session", **kwargs)
