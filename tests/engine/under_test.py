"""A running engine under test, as the tests see it."""

import os
import time
from collections.abc import Callable
from functools import cached_property
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any

from tests.engine import inside, preloaded
from tests.engine.setups import SMALL, Setup

START, CALL = 180.0, 240.0
"""Seconds that the start and one call may take, on a busy machine."""


def _connect(folder: Path) -> Connection:
    """To the process of `preloaded`, which is then a new fork of it."""
    deadline = time.monotonic() + START
    while not (folder / "socket").exists():
        if time.monotonic() > deadline or not preloaded.is_running(folder):
            raise RuntimeError(f"SGLang was not imported: {(folder / 'log').read_text()[-3000:]}")
        time.sleep(0.1)
    return Client(str(folder / "socket"), "AF_UNIX")


class EngineDied(RuntimeError):
    """The engine ended; SGLang ends its processes when one of them fails. The text ends with its
    log."""


class EngineUnderTest:
    """A running engine, in a process of its own (preloaded.py), and what the oracle needs to know
    of it."""

    def __init__(self, setup: Setup, path: Path, log: Path) -> None:
        """path: of the model."""
        self.setup, self.path, self._log = setup, path, log
        arguments = SMALL | setup.args | {"model_path": str(path), "log_level": "warning"}
        self._connection = _connect(preloaded.start())
        self._connection.send(
            {
                "log": log,
                "environment": dict(os.environ) | {"SGLANG_SOFT_CHECK": "1"} | setup.env,
                "arguments": arguments | {"random_seed": 1},
            }
        )
        self._receive(START)

    def run(self, function: Callable, *args: Any, **kwargs: Any) -> Any:
        """Call a function of `tests.engine.inside`, which gets the engine first."""
        self._connection.send((function, args, kwargs))
        return self._receive(CALL)

    def _receive(self, seconds: float) -> Any:
        try:
            if not self._connection.poll(seconds):
                raise EngineDied(f"no answer in {seconds:g} s; {self._log_end()}")
            done, value = self._connection.recv()
        except (EOFError, ConnectionError) as error:
            raise EngineDied(self._log_end()) from error
        if not done:
            raise EngineDied(f"{value}\n{self._log_end()}")
        return value

    def _log_end(self) -> str:
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return "\n".join(["the end of its log:", *text.splitlines()[-60:]])

    def generate(self, prompts: list, sampling: list[dict] | dict, **kwargs: Any) -> Any:
        """Answers, in order."""
        request = {"input_ids": prompts, "sampling_params": sampling}
        return self.run(inside.generate, **request, **kwargs)

    def stream(self, prompt: list[int], sampling: dict) -> list[dict]:
        """The chunks of one answer."""
        return self.run(inside.stream, input_ids=prompt, sampling_params=sampling)

    def flush(self) -> None:
        self.run(inside.flush_cache)

    @cached_property
    def _model(self) -> tuple:
        from tests.models import tiny

        return tiny.load(self.path)

    @property
    def hf_model(self):
        return self._model[0]

    @property
    def tokenizer(self):
        return self._model[1]

    def token_id(self, token: str) -> int:
        return self.tokenizer.convert_tokens_to_ids(token)

    def shutdown(self) -> None:
        self._connection.close()
