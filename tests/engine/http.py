"""A server in a process of its own, as a user starts one."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from launch.demo import wait_until_healthy


@contextmanager
def serve(command: list[str], log: Path, env: dict[str, str] | None = None) -> Iterator[str]:
    """Run `python command... --port P` until the block ends; yields its base address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("w") as sink:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", *command, "--port", str(port)],
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=os.environ | (env or {}),
        )
        base = f"http://127.0.0.1:{port}"
        try:
            wait_until_healthy(base, process)
            yield base
        finally:
            process.terminate()
            process.wait(timeout=60)
