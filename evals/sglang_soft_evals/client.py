"""Asking a server's OpenAI chat endpoint, with failures told apart from a server that is gone.

sgl-eval's own client is not used: after six tries it returns an empty answer and keeps no reason,
which would then be graded as a wrong one.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson

from sglang_soft_evals.config import RunConfig
from sglang_soft_evals.sample import Task, body, outcome


class ServerGoneError(Exception):
    """The server does not answer any more: nothing is recorded, the run stops and can be
    resumed."""


class Client:
    """Requests to one server, at most `concurrency` at once."""

    def __init__(self, base_url: str, config: RunConfig) -> None:
        self.base_url = base_url.rstrip("/")
        timeout = aiohttp.ClientTimeout(total=config.timeout_s, sock_connect=30)
        self._session = aiohttp.ClientSession(
            timeout=timeout, connector=aiohttp.TCPConnector(limit=0)
        )

    async def close(self) -> None:
        await self._session.close()

    async def get(self, path: str) -> Any:
        """JSON of a GET. Raises ServerGoneError where the server does not answer with one."""
        try:
            async with self._session.get(f"{self.base_url}{path}") as response:
                response.raise_for_status()
                return orjson.loads(await response.read())
        except (aiohttp.ClientError, asyncio.TimeoutError, orjson.JSONDecodeError) as error:
            raise ServerGoneError(
                f"{self.base_url}{path}: {error or type(error).__name__}"
            ) from error

    async def chat(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The completion, or `{"error": text, "code": HTTP status or 0}`. Raises
        ServerGoneError."""
        try:
            async with self._session.post(
                f"{self.base_url}/v1/chat/completions", json=request
            ) as response:
                content = await response.read()
                try:
                    answer = orjson.loads(content)
                except orjson.JSONDecodeError:
                    answer = {"message": content.decode(errors="replace")[:500]}
                if response.status != 200 or "choices" not in answer:
                    message = answer.get("message") or answer.get("error") or answer
                    return {"error": f"HTTP {response.status}: {message}", "code": response.status}
                return answer
        except asyncio.TimeoutError:
            error = "the request timed out"
        except aiohttp.ClientError as caught:
            error = f"{type(caught).__name__}: {caught}"
        if not await self.healthy():
            raise ServerGoneError(f"{self.base_url} does not answer ({error})")
        return {"error": error, "code": 0}

    async def healthy(self, attempts: int = 3) -> bool:
        for attempt in range(attempts):
            try:
                async with self._session.get(
                    f"{self.base_url}/health", timeout=aiohttp.ClientTimeout(total=30)
                ) as response:
                    if response.status == 200:
                        return True
            except (aiohttp.ClientError, asyncio.TimeoutError):
                pass
            if attempt + 1 < attempts:
                await asyncio.sleep(2)
        return False

    async def ask(self, config: RunConfig, task: Task, prompt: str) -> dict[str, Any]:
        """A record of `samples.jsonl` that is not graded yet. Raises ServerGoneError."""
        started = time.monotonic()
        completion = await self.chat(body(config, task, prompt))
        record = {
            "benchmark": config.benchmark,
            "method": task.method.name,
            "question": task.question.id,
            "sample": task.sample,
            "seed": task.seed,
            **outcome(completion),
            "gold": task.question.answer,
            "prompt": prompt,
        }
        record["latency_s"] = round(time.monotonic() - started, 4)
        return record
