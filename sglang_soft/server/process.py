"""Start a server in a process of its own, wait until it answers, and end it.

    with Server(["--log-level", "warning"]) as server:
        requests.post(f"{server.url}/generate", ...)

This is the one place that does so: the demo, the benchmarks, the evals and the tests use it. It
imports neither torch nor sglang.
"""

import ctypes
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
LOG_LINES = 30
"""Last lines of the log that an error shows."""
PR_SET_PDEATHSIG = 1
"""From <linux/prctl.h>."""
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Asks without a proxy: http_proxy is not meant for the loopback interface."""


def free_port() -> int:
    """A port of the loopback interface on which nobody listens at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def check_port(port: int) -> None:
    """Raises RuntimeError if somebody listens on `port`: we would talk to them, not to our own
    server."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise RuntimeError(
                f"port {port} is not free ({error.strerror}); end what listens there, "
                "or choose another port"
            ) from error


def without_proxy(env: Mapping[str, str]) -> dict[str, str]:
    """An environment in which nobody asks the loopback interface through a proxy.

    SGLang's own warm-up request would go to `http_proxy` otherwise, and the server would end.
    """
    known = env.get("no_proxy") or env.get("NO_PROXY") or ""
    if known.strip() == "*":
        return dict(env)
    hosts = [host.strip() for host in known.split(",") if host.strip()]
    hosts += [host for host in LOOPBACK if host not in hosts]
    return {**env, "no_proxy": ",".join(hosts), "NO_PROXY": ",".join(hosts)}


def start_group(command: Sequence[str], **options: Any) -> subprocess.Popen:
    """Start `command` in a session and process group of its own.

    The terminal's Ctrl-C does not reach it. On Linux it gets SIGTERM when the thread that started
    it ends, so a killed benchmark or run takes its server along. options: those of Popen.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def end_with_parent() -> None:
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    return subprocess.Popen(command, start_new_session=True, preexec_fn=end_with_parent, **options)


def end_group(process: subprocess.Popen, grace: float) -> None:
    """End a process of `start_group` and everything that it started in its group.

    SIGTERM to the process, which may end its children in order; after its end, or after `grace`
    seconds, SIGKILL to whatever is left of the group. A Ctrl-C during the wait skips the wait.
    """
    try:
        if process.poll() is None:
            process.terminate()
            process.wait(grace)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Server:
    """`python -m entry *args` on the loopback interface.

    As a context manager it is up inside the block and ended after it. `start`, `wait` and `stop`
    do the same in steps.
    """

    def __init__(
        self,
        args: Sequence[str] = (),
        *,
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
        timeout: float = 900,
        port: int | None = None,
        entry: str = "sglang_soft.launch_server",
        grace: float = 60,
    ) -> None:
        """
        Args:
            args: arguments of the server, without --host and --port.
            env: environment variables, added to those of this process.
            log: file that the server's output is appended to; None: this process's own output.
            timeout: seconds that the server may take until it answers.
            port: None: a free one.
            entry: module to run.
            grace: seconds that the server may take to end after SIGTERM.

        Raises ValueError if `args` has --host or --port.
        """
        for arg in args:
            if arg.split("=")[0] in ("--host", "--port"):
                raise ValueError(
                    f"{arg}: the host is {HOST}, and the port is an argument of its own"
                )
        self.port = free_port() if port is None else port
        self.url = f"http://{HOST}:{self.port}"
        self.process: subprocess.Popen | None = None
        """Set by `start`."""
        self._command = [
            sys.executable,
            "-m",
            entry,
            *args,
            "--host",
            HOST,
            "--port",
            str(self.port),
        ]
        self._env, self._log, self._timeout, self._grace = env, log, timeout, grace
        self._log_start = 0

    def start(self) -> "Server":
        """Returns when the server answers. Raises RuntimeError, with the end of the log, if the
        port is taken, the server ends, or it does not answer in time; nothing is left running."""
        check_port(self.port)
        environment = without_proxy(os.environ | dict(self._env or {}))
        if self._log is None:
            self.process = start_group(self._command, env=environment, stdin=subprocess.DEVNULL)
        else:
            with self._log.open("ab") as sink:
                self._log_start = sink.tell()
                self.process = start_group(
                    self._command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=subprocess.STDOUT,
                )
        try:
            self._wait_until_healthy(self.process)
        except BaseException:  # Ctrl-C as well
            self.stop()
            raise
        return self

    def wait(self) -> int:
        """Wait until the server ends by itself; returns its exit status."""
        assert self.process, "not started"
        return self.process.wait()

    def stop(self) -> None:
        """End the server and its children. Does nothing if it was not started."""
        if self.process:
            end_group(self.process, self._grace)

    def __enter__(self) -> "Server":
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _wait_until_healthy(self, process: subprocess.Popen) -> None:
        deadline = time.monotonic() + self._timeout
        while (left := deadline - time.monotonic()) > 0:
            healthy = self._is_healthy(min(30.0, left))
            if process.poll() is not None:
                raise RuntimeError(
                    f"the server ended with exit status {process.returncode}; {self._log_end()}"
                )
            if healthy:
                return
            time.sleep(min(0.5, left))
        raise RuntimeError(
            f"the server did not answer on {self.url} within {self._timeout:g} s; {self._log_end()}"
        )

    def _is_healthy(self, timeout: float) -> bool:
        """SGLang's /health_generate generates one token, so it is the scheduler that answers."""
        try:
            with _DIRECT.open(f"{self.url}/health_generate", timeout=timeout) as response:
                return response.status == 200
        except (OSError, http.client.HTTPException):  # not up yet, or too busy to answer in time
            return False

    def _log_end(self) -> str:
        if self._log is None:
            return "its log is above"
        with self._log.open("rb") as file:
            file.seek(self._log_start)
            lines = file.read().decode(errors="replace").splitlines()
        return "\n".join([f"the end of its log, {self._log}:", *lines[-LOG_LINES:]])
