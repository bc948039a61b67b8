"""An HTTP server in the test's process. It answers as SGLang's chat endpoint with the plugin does,
and fails on demand."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

Answer = tuple[int, dict[str, Any]]


def soft(request: dict[str, Any]) -> dict[str, Any] | bool | None:
    """`custom_params.soft_thinking` of a request."""
    return (request.get("custom_params") or {}).get("soft_thinking")


def probe(request: dict[str, Any]) -> bool:
    """Whether this is the short trial before a run."""
    return request.get("max_tokens") == 4


def completion(
    text: str,
    *,
    method: str | None = None,
    reasoning: str = "so",
    thinking: int = 3,
    finish: str = "stop",
) -> Answer:
    """(200, a completion): `thinking` tokens, think-end, and one token for each word of `text`.

    method: the thinking method; None: the answer to a discrete request.
    """
    answer = len(text.split())
    meta: dict[str, Any] = {"finish_reason": {"type": finish}, "reasoning_tokens": thinking + 1}
    if method is not None:
        meta["soft_thinking"] = {
            "method": method,
            "thinking_tokens": thinking,
            "answer_tokens": answer,
            "thinking_finish_reason": "stop_token",
            "mean_entropy": 0.5,
            "mixed_share": 0.25,
            "final_entropy": 0.1,
            "retractions": {"before": 0, "thinking": 0, "answering": 0},
        }
    message = {"role": "assistant", "content": text, "reasoning_content": reasoning}
    choice = {"index": 0, "message": message, "finish_reason": finish, "meta_info": meta}
    return 200, {"choices": [choice], "usage": {"completion_tokens": thinking + 1 + answer}}


def reply(request: dict[str, Any], text: str, **more: Any) -> Answer:
    """A completion by the method that the request asks for."""
    params = soft(request)
    method = params.get("method", "soft") if isinstance(params, dict) else None
    return completion(text, method=method, **more)


def solve(request: dict[str, Any]) -> Answer:
    """The right answer of an arith question."""
    expression = request["messages"][0]["content"].removeprefix("What is ").rstrip("?")
    assert set(expression) <= set("0123456789*+")
    value = eval(expression)  # digits and operators only, see the line above
    return reply(request, f"Answer: {value}")


class FakeServer:
    def __init__(self, respond: Callable[[dict[str, Any]], Answer]) -> None:
        self.base_url = ""
        self.respond = respond
        self.refuses: Callable[[dict[str, Any]], Answer | None] = lambda request: None
        """What is wrong with a request of full length."""
        self.facts: dict[str, dict[str, Any]] = {
            "/health": {}, "/v1/models": {"data": [{"id": "fake"}]}, "/server_info": {},
        }  # fmt: skip
        """Answers to GET."""
        self.delay = 0.0
        """Seconds that an answer takes."""
        self.dead = False
        """Cuts every connection."""
        self.api_key: str | None = None
        """Refuse requests without this key, as SGLang does."""
        self.asked: list[dict[str, Any]] = []
        self.hosts: set[str] = set()
        """The Host headers that arrived: others than our own came through us as a proxy."""
        self.in_flight = self.most_in_flight = 0

    async def chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body.get("stream"):  # the trial that is broken off
            status, answer = self.refuses(body) or (200, {})
            return web.json_response(answer, status=status)
        self.asked.append(body)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.delay)
            status, answer = self.respond(body)
        finally:
            self.in_flight -= 1
        return web.json_response(answer, status=status)

    async def tokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        return web.json_response({"count": len(body["prompt"].split())})

    async def start(self) -> None:
        app = web.Application(middlewares=[self._guard])
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_post("/tokenize", self.tokenize)
        for path, answer in self.facts.items():
            app.router.add_get(path, lambda _, answer=answer: _json(answer))
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.hosts.add(request.host)
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.api_key not in (None, key) and not request.path.startswith("/health"):
            return web.json_response({"error": "Unauthorized"}, status=401)
        response = None if self.dead else await handler(request)
        if self.dead:
            assert request.transport is not None
            request.transport.abort()
        return response or web.Response()


async def _json(answer: dict[str, Any]) -> web.Response:
    return web.json_response(answer)


@contextmanager
def serving(respond: Callable[[dict[str, Any]], Answer] = solve) -> Iterator[FakeServer]:
    """Run the server in a thread until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = FakeServer(respond)
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
