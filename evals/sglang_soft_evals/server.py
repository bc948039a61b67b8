"""The server that a run asks: one that is running, or one that is started for the run."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sglang_soft.server.process import Server as ServerProcess
from sglang_soft_evals.config import Server

START_TIMEOUT = 1800
"""Seconds: the weights of a large model may come from a slow disk."""


def arguments(server: Server) -> list[str]:
    """Flags of `python -m sglang_soft.launch_server` for a [server] table without base_url."""
    model = [] if server.model == "bundled" else ["--model-path", server.model]
    return ["--log-level", "warning", *model, *server.args]


@contextmanager
def running(server: Server, log: Path) -> Iterator[str]:
    """The address of the server to ask; a server that was started ends with the block.

    Raises:
        ValueError: the server ended while it started, or did not answer in time.
    """
    if server.base_url is not None:
        yield server.base_url
        return
    with ExitStack() as stack:
        try:
            process = ServerProcess(arguments(server), log=log, timeout=START_TIMEOUT)
            started = stack.enter_context(process)
        except RuntimeError as error:
            raise ValueError(str(error)) from error
        yield started.url
