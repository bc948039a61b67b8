"""An engine in a process of its own, as the benchmarks ask it."""

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from launch import ROOT
from launch.bench import checkout as checkouts
from launch.bench import engine_process
from launch.bench.hardware import cuda_home
from launch.bench.turns import Deadline
from sglang_soft.server.process import end_group, start_group

START_LIMIT = 900
"""Seconds: SGLang loads weights, compiles and captures graphs."""
REPLY_LIMIT = 600
"""Seconds of one batch."""
LOG_LINES = 30


class Result(NamedTuple):
    """One batch, from request to last token."""

    seconds: float
    tokens: int
    """Output tokens of all requests."""
    thinking: int
    """Thinking tokens among them; 0 for discrete requests."""


class Worker:
    """An engine that starts; `ready` waits for it. As a context manager it is ended after the
    block."""

    def __init__(
        self,
        *,
        plugin: bool,
        engine: Mapping[str, Any],
        env: Mapping[str, str] | None = None,
        checkout: Path = ROOT,
        deadline: Deadline | None = None,
    ) -> None:
        """
        Args:
            plugin: False: only the platform that lets SGLang run on a CPU is loaded.
            engine: arguments of `sglang.Engine`.
            env: environment variables of the engine.
            checkout: the project's folder that the engine uses.
            deadline: a reply that comes after it does not count.
        """
        self._plugin, self._checkout = plugin, checkout
        self._deadline = deadline or Deadline()
        self._folder = tempfile.TemporaryDirectory()
        self._log = Path(self._folder.name, "log")
        own = {"OMP_NUM_THREADS": "1", "SGLANG_PLUGINS": "" if plugin else "sglang_soft_cpu"}
        own["SGLANG_SOFT_REQUIRED"] = str(int(plugin))  # graphs are captured for soft batches
        paths = checkouts.environment(checkout, Path(self._folder.name))
        with self._log.open("wb") as log:
            self._process = start_group(
                [sys.executable, "-W", "ignore", engine_process.__file__, json.dumps(dict(engine))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | cuda_home() | own | paths | dict(env or {}),
            )
        self._buffer = b""
        self.cache_tokens = 0
        """Room of the KV cache, which SGLang makes smaller than asked where memory is short; set by
        `ready`."""

    def ready(self) -> "Worker":
        """Wait until the engine is up. Raises RuntimeError, with the end of the log, if it does not
        start."""
        hello = self._reply(START_LIMIT)
        found = Path(hello["package"] or "").resolve()
        if self._plugin and not found.is_relative_to(self._checkout.resolve()):
            raise RuntimeError(f"the engine found sglang_soft at {found}, not in {self._checkout}")
        self.cache_tokens = hello["cache_tokens"]
        return self

    def run(self, **request: Any) -> Result:
        """request: arguments of `Engine.generate`, lists of prompts among them. Raises RuntimeError
        if the engine dies or the time is over."""
        assert self._process.stdin
        with suppress(BrokenPipeError):  # `_reply` says why
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        return Result(*self._reply(REPLY_LIMIT))

    def close(self) -> None:
        """End the engine in order."""
        assert self._process.stdin
        self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(60)
        self.kill()

    def kill(self) -> None:
        """End the engine at once, whatever it does."""
        end_group(self._process, grace=0)
        self._folder.cleanup()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.kill()

    def _reply(self, limit: float) -> Any:
        end = time.monotonic() + min(limit, self._deadline.left)
        while True:
            line, found, rest = self._buffer.partition(b"\n")
            if found:
                self._buffer = rest
                if line.decode(errors="replace").startswith(engine_process.REPLY):
                    return json.loads(line[len(engine_process.REPLY) :])
            else:
                self._buffer += self._read(end - time.monotonic())

    def _read(self, seconds: float) -> bytes:
        output = self._process.stdout
        assert output
        if seconds <= 0 or not select.select([output], [], [], min(seconds, 1e6))[0]:
            raise RuntimeError(f"{self._log_end()}\nthe engine did not reply in time; see above")
        data = os.read(output.fileno(), 1 << 16)
        if not data:
            status = self._process.wait()
            raise RuntimeError(
                f"{self._log_end()}\nthe engine ended with exit status {status}; see above"
            )
        return data

    def _log_end(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-LOG_LINES:])
