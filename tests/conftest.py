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


ENGINE_FIXTURES = {"engine", "server", "without_plugin"}
"""Fixtures that start a real SGLang engine or server."""


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts an engine, and what only `make test-full` runs; keep tests that share an
    engine, or a module's fixtures, in one process."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        callspec = getattr(item, "callspec", None)
        setup = callspec.params.get("engine") if callspec else None
        file = item.path.relative_to(item.config.rootpath).as_posix()
        if ENGINE_FIXTURES & fixtures:
            item.add_marker("engine")
        if setup in SETUPS and not SETUPS[setup].always:
            item.add_marker("full")
        item.add_marker(pytest.mark.xdist_group(f"engine {setup}" if setup else file))
    # The longest first: two processes then end at about the same time.
    items.sort(key=lambda item: item.get_closest_marker("engine") is None)


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
