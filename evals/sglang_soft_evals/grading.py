"""Grading in another process, with a deadline: no answer can hang or crash a run.

`python -m sglang_soft_evals.grading GRADER` is that process. Each message, in both directions, is
4 bytes of length (big-endian) and JSON. The process ends when its input does.
"""

import asyncio
import os
import sys
from typing import Any, BinaryIO, NamedTuple

import orjson

from sglang_soft_evals import graders

DEADLINE = 30.0
"""Seconds for one answer. math-verify's own limit is 5 s for each of its steps."""
START_DEADLINE = 120.0
"""Seconds to start and to import the grader."""


class Graded(NamedTuple):
    correct: bool | None
    """As `graders.Grade`; False if the grader failed."""
    answer: str | None
    error: str | None
    """Why there is no verdict: the answer counts as wrong."""


class GraderProcess:
    """One process that grades one answer at a time; it is started again after a failure."""

    def __init__(self, grader: str) -> None:
        self._grader = grader
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()

    async def grade(self, text: str, gold: str) -> Graded:
        """Raises RuntimeError if the grader cannot be started."""
        async with self._lock:
            if self._process is None:
                await self._start()
            finished = False
            try:
                reply = await asyncio.wait_for(self._exchange([text, gold]), DEADLINE)
                finished = True
                return Graded(*reply)
            except asyncio.TimeoutError:
                error = f"the grader did not end within {DEADLINE:g} s"
            except (asyncio.IncompleteReadError, ConnectionError):
                error = "the grader's process ended"
            finally:
                if not finished:  # also if cancelled: the reply of this answer is still to come
                    await self._kill()
            return Graded(False, None, error)

    async def close(self) -> None:
        """End the process."""
        async with self._lock:
            await self._kill()

    async def _start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "sglang_soft_evals.grading",
            self._grader,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the run
        )
        try:  # imports the grader, which takes seconds
            _, _, error = await asyncio.wait_for(self._exchange(["", "0"]), START_DEADLINE)
        except (asyncio.TimeoutError, asyncio.IncompleteReadError, ConnectionError) as caught:
            error = f"{type(caught).__name__}: {caught}"
        if error is not None:
            await self._kill()
            raise RuntimeError(f"the grader {self._grader} cannot be started ({error})")

    async def _exchange(self, message: list[str]) -> list[Any]:
        assert self._process and self._process.stdin and self._process.stdout
        raw = orjson.dumps(message)
        if self._process.stdin.is_closing():  # uvloop, where it is in use, raises a RuntimeError
            raise ConnectionResetError
        self._process.stdin.write(len(raw).to_bytes(4, "big") + raw)
        await self._process.stdin.drain()
        size = int.from_bytes(await self._process.stdout.readexactly(4), "big")
        return orjson.loads(await self._process.stdout.readexactly(size))

    async def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.returncode is None:
                process.kill()
            await process.wait()


def serve(grader: str, source: BinaryIO, sink: BinaryIO) -> None:
    """Answer messages until `source` ends."""
    while len(head := source.read(4)) == 4:
        text, gold = orjson.loads(source.read(int.from_bytes(head, "big")))
        try:
            reply = Graded(*graders.grade(grader, text, gold), error=None)
        except Exception as error:  # the run records it with the answer
            reply = Graded(False, None, f"the grader failed ({type(error).__name__}: {error})")
        raw = orjson.dumps(tuple(reply))
        sink.write(len(raw).to_bytes(4, "big") + raw)
        sink.flush()


def main() -> None:
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not end up among the messages
    serve(sys.argv[1], sys.stdin.buffer, sink)


if __name__ == "__main__":
    main()
