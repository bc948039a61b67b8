"""The client for asyncio: any number of requests at once."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import httpx

from sglang_soft.client import calls
from sglang_soft.client.answer import Answer, Json, Kept
from sglang_soft.client.calls import Call, Options, Thought
from sglang_soft.client.errors import refusal
from sglang_soft.client.stream import Chunk, Reading
from sglang_soft.client.sync import SECONDS, Client, answered, content, read, settings
from sglang_soft.trace import Trace

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from sglang_soft.verify import Report

T = TypeVar("T")


class AsyncClient:
    """The methods of `Client`, to be awaited."""

    def __init__(self, url: str, api_key: str | None = None, timeout: float = SECONDS) -> None:
        self._given = url, api_key, timeout
        self._http = httpx.AsyncClient(**settings(url, api_key, timeout))

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._http.aclose()

    async def ask(self, question: str | None = None, /, **options: "Unpack[Options]") -> Answer:
        return (await self._send(calls.ask(question, options)))[0]

    async def stream(
        self, question: str | None = None, /, **options: "Unpack[Options]"
    ) -> AsyncIterator[Chunk]:
        call, reading = calls.ask(question, options, stream=True), Reading()
        with answered(self._given[0]):
            async with self._http.stream(call.method, call.path, content=content(call)) as response:
                if response.is_error:
                    raise refusal(response.status_code, await response.aread())
                async for data in response.aiter_bytes():
                    for chunk in reading.feed(data):
                        yield chunk
        yield reading.end()

    async def think(self, question: str | None = None, /, **options: "Unpack[Options]") -> Answer:
        return (await self._send(calls.think(question, options)))[0]

    async def resume(self, thought: Thought, /, **options: "Unpack[Options]") -> Answer:
        return (await self._send(calls.resume(thought, options)))[0]

    async def fork(
        self, thought: Thought, samples: int | Sequence[Options], /, **options: "Unpack[Options]"
    ) -> list[Answer]:
        return await self._send(calls.fork(thought, samples, options))

    async def trace(self, handle: Kept | str) -> Trace:
        return await self._send(calls.trace(handle))

    async def drop(self, handle: Kept | str) -> None:
        await self._send(calls.drop(handle))

    async def info(self) -> Json:
        return await self._send(calls.info())

    async def verify(self, thought: Thought, *, tolerance: float | None = None) -> "Report":
        """In a thread, because it computes."""

        def compare() -> "Report":
            with Client(*self._given) as client:
                return client.verify(thought, tolerance=tolerance)

        return await asyncio.to_thread(compare)

    async def _send(self, call: Call[T]) -> T:
        with answered(self._given[0]):
            response = await self._http.request(call.method, call.path, content=content(call))
        return read(call, response)
