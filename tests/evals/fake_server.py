"""An HTTP server in the test's process that answers as SGLang's chat endpoint does, and misbehaves
on demand."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

Answer = tuple[int, dict[str, Any]]


def completion(
    text: str, *, reasoning: str = "so", thinking: int = 3, finish: str = "stop", soft: bool = False
) -> Answer:
    """(200, a completion) of `thinking` tokens, think-end, and one token a word of `text`."""
    answer = len(text.split())
    meta: dict[str, Any] = {"finish_reason": {"type": finish}, "reasoning_tokens": thinking + 1}
    if soft:
        meta["soft_thinking"] = {
            "thinking_tokens": thinking, "answer_tokens": answer, "how_ended": "think_end", "mean_entropy": 0.5,
        }  # fmt: skip
    message = {"role": "assistant", "content": text, "reasoning_content": reasoning}
    choice = {"index": 0, "message": message, "finish_reason": finish, "meta_info": meta}
    return 200, {"choices": [choice], "usage": {"completion_tokens": thinking + 1 + answer}}


def solve(request: dict[str, Any]) -> Answer:
    """The right answer of an arith question."""
    expression = request["messages"][0]["content"].removeprefix("What is ").rstrip("?")
    assert set(expression) <= set("0123456789*+")
    value = eval(expression)  # digits and operators only, see above
    params = (request.get("custom_params") or {}).get("soft_thinking")
    return completion(f"Answer: {value}", soft=bool(params))


class FakeServer:
    def __init__(self, base_url: str, respond: Callable[[dict[str, Any]], Answer]) -> None:
        self.base_url = base_url
        self.respond = respond
        self.delay = 0.0
        """Seconds that an answer takes."""
        self.dead = False
        """Cuts every connection."""
        self.asked: list[dict[str, Any]] = []
        self.in_flight = self.most_in_flight = 0

    async def chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append(body)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.delay)
            status, answer = self.respond(body)
        finally:
            self.in_flight -= 1
        return web.json_response(answer, status=status)


@contextmanager
def serving(respond: Callable[[dict[str, Any]], Answer] = solve) -> Iterator[FakeServer]:
    """Run the server in a thread until the block ends."""
    loop, started = asyncio.new_event_loop(), threading.Event()
    server = FakeServer("", respond)

    async def start() -> None:
        @web.middleware
        async def cut(request: web.Request, handler: Any) -> web.StreamResponse:
            response = None if server.dead else await handler(request)
            if server.dead:
                assert request.transport is not None
                request.transport.abort()
            return response or web.Response()

        app = web.Application(middlewares=[cut])
        app.router.add_post("/v1/chat/completions", server.chat)
        for path, answer in (
            ("/health", {}),
            ("/v1/models", {"data": [{"id": "fake"}]}),
            ("/server_info", {}),
        ):
            app.router.add_get(
                path, lambda _, answer=answer: asyncio.sleep(0, web.json_response(answer))
            )
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.base_url = "http://127.0.0.1:%d" % site._server.sockets[0].getsockname()[1]  # noqa: UP031
        server.stop = runner.cleanup
        started.set()

    loop.create_task(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
