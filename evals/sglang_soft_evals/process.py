"""A server in a process of its own. To be replaced by `sglang_soft.server.process`, which has the
same interface."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

TAIL = 2000
"""Characters of the log that an error quotes."""


class Server:
    """`python -m sglang_soft.launch_server` on the loopback interface, for the length of a block.

    Args:
        args: more flags of the server.
        env: more environment variables.
        log: file that its output is appended to.
        timeout: seconds until it has to answer.
        port: None: a free one.
    """

    def __init__(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
        timeout: float = 900,
        port: int | None = None,
    ) -> None:
        self._args, self._env, self._log, self._timeout = args, env, log, timeout
        self._port = port or _free_port()
        self.url = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> "Server":
        command = [sys.executable, "-m", "sglang_soft.launch_server", *self._args]
        command += ["--host", "127.0.0.1", "--port", str(self._port)]
        with open(self._log or os.devnull, "a") as sink:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **(self._env or {})},
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a process group to end as a whole; Ctrl-C is for the run
                preexec_fn=_end_with_parent,
            )
        try:
            self._wait()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _wait(self) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + self._timeout
        while time.monotonic() < deadline:
            if (status := self._process.poll()) is not None:
                raise RuntimeError(f"the server ended with exit status {status}. {self._tail()}")
            try:
                with opener.open(f"{self.url}/health_generate", timeout=10) as response:
                    if response.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                pass
            time.sleep(1)
        raise RuntimeError(f"the server did not answer within {self._timeout} s. {self._tail()}")

    def _tail(self) -> str:
        if self._log is None:
            return ""
        text = self._log.read_text(errors="replace")[-TAIL:]
        return f"The log {self._log} ends with:\n{text}"

    def _stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(timeout=60)
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue


def _end_with_parent() -> None:
    """In the child: a killed run ends its server too (Linux)."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
