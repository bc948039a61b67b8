"""Shared fixtures, and the tiers: which tests start an engine, and which run in one process.

One engine serves many tests: pytest groups tests by the `engine` parameter that they ask for.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests import mutants
from tests.engine import preloaded
from tests.engine.setups import SETUPS, WITHOUT_PLUGIN, Setup
from tests.groups import group_of

if TYPE_CHECKING:
    from tests.engine.under_test import EngineUnderTest

PRELOADED = {"engine", "engines", "without_plugin"}
"""Fixtures with an engine that is a fork of a process with SGLang imported."""
SPAWNED = {"server"}
"""Fixtures with a server that is started as a user starts it."""


def pytest_configure(config: pytest.Config) -> None:
    # Nothing here may wait for a hub, and a tiny model is only slowed by OpenMP's barriers.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    config.addinivalue_line("markers", "slow: starts no engine, and is not in `make test-fast`")
    config.addinivalue_line("filterwarnings", "ignore::DeprecationWarning")
    config.addinivalue_line("filterwarnings", "ignore::UserWarning")
    preloaded.owned_by_this_process()
    mutants.apply(in_engine=False)


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts an engine, and put what takes long first."""
    for item in items:
        group = None
        if _fixtures(item) & (PRELOADED | SPAWNED):
            item.add_marker("engine")
        if _asks_preloaded(item):
            group = "engine" if "engine" in _fixtures(item) else None
        elif _fixtures(item) & SPAWNED:
            group = "server"
        if group and not group_of(item.nodeid).startswith(group):
            raise pytest.UsageError(f"{item.nodeid} is not of a group {group!r}: tests/groups.py")

    def order(item: pytest.Item) -> int:
        if _asks_preloaded(item):
            return 2  # until then SGLang is imported (`pytest_collection_finish`)
        long = item.get_closest_marker("slow") or item.get_closest_marker("engine")
        return 0 if long else 1

    items.sort(key=order)


def _fixtures(item: pytest.Item) -> set[str]:
    return set(getattr(item, "fixturenames", ()))


def _asks_preloaded(item: pytest.Item) -> bool:
    """Not one of the GPU tests, which have a fixture `engine` of their own."""
    return item.nodeid.startswith("tests/engine/") and bool(_fixtures(item) & PRELOADED)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """Groups in the order of the collection. Not `--dist loadgroup`: see groups.py."""
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    config.option.loadscopereorder = False
    return ByGroup(config, log)


def pytest_collection_finish(session: pytest.Session) -> None:
    if any(map(_asks_preloaded, session.items)):
        preloaded.start()


@pytest.fixture(autouse=True)
def only_marked_tests_start_an_engine(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere the plugin refuses its settings, and with it every engine and server."""
    if not request.node.get_closest_marker("engine"):
        monkeypatch.setenv("SGLANG_SOFT_MAX_K", "a test without the marker `engine`")


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory):
    """Folder in which tiny models are built once a session."""
    return tmp_path_factory.mktemp("models")


def _run(setup: Setup, tmp_path_factory, model_dir) -> "Iterator[EngineUnderTest]":
    from tests.engine.under_test import EngineUnderTest
    from tests.models import tiny

    log = tmp_path_factory.mktemp("engine") / "log"
    under_test = EngineUnderTest(setup, tiny.build(setup.family, model_dir), log)
    try:
        yield under_test
    finally:
        under_test.shutdown()


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest, tmp_path_factory, model_dir):
    """A real SGLang engine. Parametrise indirectly with names of `tests.engine.setups.SETUPS`."""
    from tests.releases import OLD

    if request.param == "tp2" and OLD:
        pytest.skip("SGLang 0.5.22 makes an NCCL communicator for CPUs, too")
    yield from _run(SETUPS[request.param], tmp_path_factory, model_dir)


@pytest.fixture(scope="session")
def without_plugin(tmp_path_factory, model_dir):
    """An engine of the default setup with the CPU platform and without the plugin."""
    yield from _run(WITHOUT_PLUGIN, tmp_path_factory, model_dir)


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[str]:
    """Base address of `python -m sglang_soft.launch_server` without arguments but the port."""
    from sglang_soft.server.process import Server

    log = tmp_path_factory.mktemp("server") / "log"
    with Server(log=log, env={"SGLANG_SOFT_CHECK": "1"}) as server:
        yield server.url


@pytest.fixture(scope="module")
def browser():
    """Chromium, as Playwright's Browser. For one file: while it is there an event loop runs in this
    thread, and tests that use asyncio cannot start one of theirs."""
    from launch.browser import chromium, missing

    if reason := missing():
        pytest.skip(reason)
    with chromium() as found:
        yield found


def on(*names: str, **kwargs) -> pytest.MarkDecorator:
    """Run a test once for each named engine setup."""
    return pytest.mark.parametrize("engine", names, indirect=True, scope="session", **kwargs)
