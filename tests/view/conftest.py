"""A browser, and the one server with the page."""

from collections.abc import Iterator
from typing import Any

import pytest

from launch.browser import chromium, missing
from sglang_soft.server.process import Server


@pytest.fixture(scope="session")
def guarded(tmp_path_factory) -> Iterator[str]:
    """Address of a server with the page, and a key."""
    args = ["--soft-view", "--api-key", "sesame"]
    log = tmp_path_factory.mktemp("view") / "log"
    with Server(args, log=log, env={"SGLANG_SOFT_CHECK": "1"}) as server:
        yield server.url


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if reason := missing():
        pytest.skip(reason)
    with chromium() as found:
        yield found
