"""What HTTP adds to a soft request: bodies are checked, `custom_params` reach the endpoints that
SGLang does not pass them on from, and answers get the summary.

An ASGI layer around SGLang's router, inside every middleware. Bodies and answers that have nothing
to do with Soft Thinking pass as they are.
"""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import orjson

from sglang_soft.params import KEY
from sglang_soft.server.endpoints import (
    ENDPOINTS,
    OTHERS,
    Answers,
    Endpoint,
    check_places,
    complete_body,
    mentions,
)
from sglang_soft.server.kept import UnknownTrace
from sglang_soft.server.next_turn import NextTurn

Message = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]


class HttpCall:
    """One HTTP request, for the front end, which serves it in the same task or in one that it
    starts."""

    def __init__(self, endpoint: Endpoint, custom_params: dict[str, Any]) -> None:
        self.custom_params = {} if endpoint.carried else custom_params
        """Those that SGLang drops."""
        self.whole = endpoint.put is not None
        """The answer has room for one summary, not for one with each chunk."""
        self.answers: Answers = []
        self.turn: NextTurn | None = None
        """A chat that keeps the thought of the turn before."""
        self.refusal: ValueError | None = None
        """What the front end found wrong. Not every endpoint makes an HTTP 400 of it."""

    def expect(self) -> Callable[[dict[str, Any]], None]:
        """A soft generation begins. Returns what takes its summary."""
        index = len(self.answers)
        self.answers.append(None)

        def ended(info: dict[str, Any]) -> None:
            self.answers[index] = info

        return ended


current_call: ContextVar[HttpCall | None] = ContextVar("sglang_soft_http", default=None)


def install(app) -> None:
    """Put the layer around the router of a FastAPI application, once."""
    router = app.router
    if not isinstance(router.middleware_stack, SoftLayer):
        router.middleware_stack = SoftLayer(router.middleware_stack)


class SoftLayer:
    def __init__(self, app) -> None:
        self._app = app

    async def __call__(self, scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        endpoint = ENDPOINTS.get(path)
        generates = endpoint is not None or path in OTHERS
        if scope["type"] != "http" or scope["method"] not in ("POST", "PUT") or not generates:
            return await self._app(scope, receive, send)
        messages = await _whole_body(receive)
        body = b"".join(message.get("body", b"") for message in messages)
        custom_params: dict[str, Any] = {}
        turn = None
        if mentions(body):
            try:
                data = parsed(body)
                custom_params = check_places(path, data)
                if _has_trace(custom_params) and endpoint is not None:
                    changed, turn = complete_body(endpoint, data, custom_params[KEY])
                    if changed:
                        messages = [{"type": "http.request", "body": _written(data)}]
            except ValueError as error:
                return await _refuse(send, endpoint, str(error))
        call = None if endpoint is None else HttpCall(endpoint, custom_params)
        token = current_call.set(call)
        answer = send
        if call is not None and endpoint is not None:
            call.turn = turn
            answer = NotFound(send, call, endpoint).send
            if endpoint.put is not None:
                answer = Editor(answer, call, endpoint).send
        try:
            return await self._app(scope, _replay(messages, receive), answer)
        except ValueError as error:
            if call is None or call.refusal is not error:
                raise
            return await _refuse(send, endpoint, str(error), _status(error))
        finally:
            current_call.reset(token)


def _has_trace(custom_params: dict[str, Any]) -> bool:
    asked = custom_params.get(KEY)
    return isinstance(asked, dict) and asked.get("trace") is not None


class NotFound:
    """Makes HTTP 404 of SGLang's 400 where a handle is unknown."""

    def __init__(self, send: Send, call: HttpCall, endpoint: Endpoint) -> None:
        self._send, self._call, self._endpoint = send, call, endpoint
        self._refused = False

    async def send(self, message: Message) -> None:
        error = self._call.refusal
        if message["type"] == "http.response.start" and message["status"] == 400:
            self._refused = isinstance(error, UnknownTrace)
            if self._refused:
                return await _refuse(self._send, self._endpoint, str(error), 404)
        if not self._refused:
            await self._send(message)


def _status(error: ValueError) -> int:
    return 404 if isinstance(error, UnknownTrace) else 400


class Editor:
    """Puts the summaries of a call into its answer as it is sent."""

    def __init__(self, send: Send, call: HttpCall, endpoint: Endpoint) -> None:
        self._send, self._call = send, call
        assert endpoint.put is not None
        self._put = endpoint.put
        self._start: Message | None = None
        """Held back: a JSON answer gets another length."""
        self._pending = b""
        self._separator = b""
        """Of the events of a stream; empty: the answer is one JSON object."""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            kind = dict(message["headers"]).get(b"content-type", b"")
            if kind.startswith(b"text/event-stream"):
                self._separator = b"\n\n"
            elif b"ndjson" in kind:
                self._separator = b"\n"
            elif kind.startswith(b"application/json") and self._call.answers:
                self._start = message
                return
            else:
                self._put = _nothing
            await self._send(message)
        elif message["type"] != "http.response.body" or self._put is _nothing:
            await self._send(message)
        elif self._separator and not (self._call.answers or self._pending):
            await self._send(message)  # nothing soft about it
        elif self._separator:
            await self._send(message | {"body": self._events(message)})
        else:
            self._pending += message.get("body", b"")
            if not message.get("more_body"):
                await self._send_whole(message)

    def _events(self, message: Message) -> bytes:
        """The complete events so far, with the summaries in them."""
        *events, self._pending = (self._pending + message.get("body", b"")).split(self._separator)
        if not message.get("more_body") and self._pending:
            events, self._pending = [*events, self._pending], b""
            return self._separator.join(map(self._event, events))
        return b"".join(self._event(event) + self._separator for event in events)

    def _event(self, event: bytes) -> bytes:
        if not any(info is not None for info in self._call.answers):
            return event
        lines = event.split(b"\n")
        for i, line in enumerate(lines):
            prefix = b"data: " if self._separator == b"\n\n" else b""
            if line.startswith(prefix + b"{"):
                data = orjson.loads(line[len(prefix) :])
                if self._put(data, self._call.answers):
                    lines[i] = prefix + orjson.dumps(data)
        return b"\n".join(lines)

    async def _send_whole(self, last: Message) -> None:
        assert self._start is not None
        body = self._pending
        data = parsed(body)
        if isinstance(data, dict) and self._put(data, self._call.answers):
            body = orjson.dumps(data)
        length = (b"content-length", str(len(body)).encode())
        headers = [h for h in self._start["headers"] if h[0].lower() != b"content-length"]
        await self._send(self._start | {"headers": [*headers, length]})
        await self._send(last | {"body": body})


def _nothing(data: dict[str, Any], answers: Answers) -> bool:
    return False


def parsed(body: bytes) -> Any:
    """None where it is not JSON: SGLang, which reads it by the same library, says so itself."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _written(data: Any) -> bytes:
    """Raises ValueError: a value has more levels than a body may have."""
    try:
        return orjson.dumps(data)
    except TypeError as error:
        raise ValueError(f"the body has a value that is nested too deeply: {error}.") from None


async def _whole_body(receive: Receive) -> list[Message]:
    messages = [await receive()]
    while messages[-1]["type"] == "http.request" and messages[-1].get("more_body"):
        messages.append(await receive())
    return messages


def _replay(messages: list[Message], receive: Receive) -> Receive:
    left = iter(messages)

    async def again() -> Message:
        message = next(left, None)
        return await receive() if message is None else message

    return again


async def _refuse(send: Send, endpoint: Endpoint | None, text: str, status: int = 400) -> None:
    """HTTP 400 or 404 as the endpoint's own errors are."""
    kinds = {
        400: ("invalid_request_error", "BadRequestError"),
        404: ("not_found_error", "NotFoundError"),
    }
    anthropic, openai = kinds[status]
    if endpoint is not None and endpoint.anthropic:
        answer: dict[str, Any] = {"type": "error", "error": {"type": anthropic, "message": text}}
    elif endpoint is not None and endpoint.put is None:
        answer = {"error": {"message": text}}
    else:
        answer = {"object": "error", "message": text, "type": openai, "param": None, "code": status}
    body = orjson.dumps(answer)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
