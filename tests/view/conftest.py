"""The one server with the page and a key."""

from collections.abc import Iterator

import pytest

from sglang_soft.server.process import Server


@pytest.fixture(scope="session")
def guarded(tmp_path_factory) -> Iterator[str]:
    """Address of a server with the page, and a key."""
    args = ["--soft-view", "--api-key", "sesame"]
    log = tmp_path_factory.mktemp("view") / "log"
    with Server(args, log=log, env={"SGLANG_SOFT_CHECK": "1"}) as server:
        yield server.url
