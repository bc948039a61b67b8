"""Asking one sample of a server's OpenAI chat endpoint, and making a record of what comes back.

sgl-eval's own client is not used: it hides why a request failed and asks the failed ones again without end of record.
"""

import asyncio
import hashlib
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import aiohttp
import orjson

from sglang_soft_evals.config import Method, RunConfig
from sglang_soft_evals.loading import Question

_THINK_END = "</think>"


class ServerGoneError(Exception):
    """The server does not answer any more: nothing is recorded, the run stops and can be resumed."""


class Task(NamedTuple):
    """One sample to ask for."""

    method: Method
    question: Question
    sample: int
    seed: int


def seed_of(run_seed: int, question: str, sample: int) -> int:
    """The sampling seed, in [0, 2^31). The same for every method, so that methods share their luck."""
    digest = hashlib.sha256(orjson.dumps([run_seed, question, sample])).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def body(config: RunConfig, task: Task, prompt: str) -> dict[str, Any]:
    """The request. Everything but `custom_params` is the same for all methods."""
    request: dict[str, Any] = {
        "model": config.server.model if config.server.base_url else "default",
        "messages": [{"role": "user", "content": prompt}],
        "temperature": config.sampling.temperature,
        "top_p": config.sampling.top_p,
        "top_k": config.sampling.top_k,
        "min_p": config.sampling.min_p,
        "max_tokens": config.sampling.max_tokens,
        "seed": task.seed,
        "return_meta_info": True,
    }
    if task.method.soft_thinking is not None:
        request["custom_params"] = {"soft_thinking": dict(task.method.soft_thinking)}
    else:
        request["custom_params"] = {"soft_thinking": False}  # not the server-wide default, should there be one
    return request


class Client:
    """Requests to one server, at most `concurrency` at once."""

    def __init__(self, base_url: str, config: RunConfig) -> None:
        self.base_url = base_url.rstrip("/")
        timeout = aiohttp.ClientTimeout(total=config.timeout_s, sock_connect=30)
        self._session = aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0))

    async def close(self) -> None:
        await self._session.close()

    async def get(self, path: str) -> Any:
        """JSON of a GET. Raises ServerGoneError where the server does not answer with one."""
        try:
            async with self._session.get(f"{self.base_url}{path}") as response:
                response.raise_for_status()
                return orjson.loads(await response.read())
        except (aiohttp.ClientError, asyncio.TimeoutError, orjson.JSONDecodeError) as error:
            raise ServerGoneError(f"{self.base_url}{path}: {error or type(error).__name__}") from error

    async def chat(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The completion, or `{"error": text, "code": HTTP status or 0}`. Raises ServerGoneError."""
        try:
            async with self._session.post(f"{self.base_url}/v1/chat/completions", json=request) as response:
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


def outcome(completion: Mapping[str, Any]) -> dict[str, Any]:
    """What a completion says of text, tokens and ending.

    Thinking tokens are those before think-end, answer tokens those behind it, for every method alike: SGLang counts
    both sides in `reasoning_tokens`, think-end included.
    """
    record: dict[str, Any] = {"status": "failed", "correct": None, "answer": None}
    record |= {"thinking_tokens": 0, "answer_tokens": 0, "completion_tokens": 0, "how_ended": None}
    record |= {"mean_entropy": None, "reasoning": "", "text": "", "error": completion.get("error")}
    if record["error"] is not None:
        return record
    choice = completion["choices"][0]
    meta, usage, message = choice.get("meta_info") or {}, completion.get("usage") or {}, choice["message"]
    finish = meta.get("finish_reason") or {"type": choice.get("finish_reason")}
    if finish.get("type") == "abort":
        return record | {"error": f"aborted by the server: {finish.get('message')}"}
    reasoning, text = message.get("reasoning_content") or "", message.get("content") or ""
    if not reasoning and _THINK_END in text:  # a server without a reasoning parser
        reasoning, text = text.split(_THINK_END, 1)
    completed = usage.get("completion_tokens", 0)
    soft = meta.get("soft_thinking")
    if soft is not None:
        thinking, answer, how = soft["thinking_tokens"], soft["answer_tokens"], soft["how_ended"]
    else:
        before = meta.get("reasoning_tokens") or usage.get("reasoning_tokens") or 0
        answer = completed - before
        how = None if not before else "think_end" if answer else str(finish.get("type"))
        thinking = before - (how == "think_end")
    return record | {
        "status": "truncated" if finish.get("type") == "length" else "ok",
        "thinking_tokens": thinking,
        "answer_tokens": answer,
        "completion_tokens": completed,
        "how_ended": how,
        "mean_entropy": None if soft is None else soft["mean_entropy"],
        "reasoning": reasoning,
        "text": text,
    }
