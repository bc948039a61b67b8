"""A server of our own for the length of a run: `python -m sglang_soft.launch_server` on the
loopback interface."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sglang_soft_evals.config import Server

START_TIMEOUT = 1800
"""Seconds: weights of a large model may come from a slow disk."""


@contextmanager
def running(server: Server, log: Path) -> Iterator[str]:
    """The base address of the server to ask: `server.base_url`, or one that lives until the block
    ends.

    Raises:
        ValueError: the server ended while starting, or did not answer in time; names its log.
    """
    if server.base_url is not None:
        yield server.base_url.rstrip("/")
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "sglang_soft.launch_server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    command += ["--log-level", "warning", *server.args]
    if server.model != "bundled":
        command += ["--model-path", server.model]
    with log.open("a") as sink:
        process = subprocess.Popen(
            command, stdout=sink, stderr=subprocess.STDOUT, preexec_fn=_end_with_parent
        )
    base = f"http://127.0.0.1:{port}"
    try:
        _wait(base, process, log)
        yield base
    finally:
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()


def _end_with_parent() -> None:
    """In the child: Ctrl-C is for the run alone, and a killed run takes its server along
    (Linux)."""
    os.setpgrp()
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def _wait(base: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ValueError(f"the server ended with exit status {process.returncode}; see {log}.")
        try:
            with urllib.request.urlopen(f"{base}/health", timeout=5) as response:
                if response.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(1)
    raise ValueError(f"the server did not answer within {START_TIMEOUT} s; see {log}.")
