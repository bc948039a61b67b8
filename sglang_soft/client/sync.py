"""The client."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import httpx
import orjson

from sglang_soft.client import calls
from sglang_soft.client.answer import Answer, Json, Kept
from sglang_soft.client.calls import Call, Options, Thought
from sglang_soft.client.errors import NoAnswer, refusal
from sglang_soft.client.stream import Chunk, Reading
from sglang_soft.server.process import LOOPBACK
from sglang_soft.trace import Trace

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from sglang_soft.verify import Report

T = TypeVar("T")
SECONDS = 3600.0


class Client:
    """One server with the plugin, by the address of its HTTP port. Threads may share a client.

    Every request raises ServerError: the server refused (UnknownTrace: it has no such trace, or no
    longer); NoAnswer: there is no answer. Options that do not fit are a ValueError.
    """

    def __init__(self, url: str, api_key: str | None = None, timeout: float = SECONDS) -> None:
        """timeout: seconds that the server may be silent. Raises ValueError: no http(s) address."""
        self.url = root(url)
        self._http = httpx.Client(**settings(url, api_key, timeout))

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exception: object) -> None:
        self._http.close()

    def ask(self, question: str | None = None, /, **options: "Unpack[Options]") -> Answer:
        """Think and answer: a question, or the option `messages` or `prompt`."""
        return self._send(calls.ask(question, options))[0]

    def stream(
        self, question: str | None = None, /, **options: "Unpack[Options]"
    ) -> Iterator[Chunk]:
        """As `ask` (or, with a `thought`, `resume`), in pieces; the last one has the answer."""
        call, reading = calls.ask(question, options, stream=True), Reading()
        with (
            answered(self.url),
            self._http.stream(call.method, call.path, content=content(call)) as response,
        ):
            if response.is_error:
                raise refusal(response.status_code, response.read())
            for data in response.iter_bytes():
                yield from reading.feed(data)
        yield reading.end()

    def think(self, question: str | None = None, /, **options: "Unpack[Options]") -> Answer:
        """The thought alone: it ends with think-end, and the server keeps it."""
        return self._send(calls.think(question, options))[0]

    def resume(self, thought: Thought, /, **options: "Unpack[Options]") -> Answer:
        """Go on from a thought, where `at` and `cut` say."""
        return self._send(calls.resume(thought, options))[0]

    def fork(
        self, thought: Thought, samples: int | Sequence[Options], /, **options: "Unpack[Options]"
    ) -> list[Answer]:
        """Several answers of one thought, in one request: so many alike, or one for each of
        `samples`, options that are added to the others. If `at` is left out: at the answer."""
        return self._send(calls.fork(thought, samples, options))

    def trace(self, handle: Kept | str) -> Trace:
        """A trace that the server keeps."""
        return self._send(calls.trace(handle))

    def drop(self, handle: Kept | str) -> None:
        """The server forgets a trace."""
        self._send(calls.drop(handle))

    def info(self) -> Json:
        """What the server offers: methods, parameters, presets, settings."""
        return self._send(calls.info())

    def verify(self, thought: Thought, *, tolerance: float | None = None) -> "Report":
        """Compare each step with what this server computes for it in one prefill.

        Raises ImportError: torch is not installed; ValueError: it cannot be compared.
        """
        try:
            from sglang_soft.verify import verify
            from sglang_soft.verify.reference_server import ServerReference
        except ImportError as error:
            raise ImportError(f"verify computes with torch and the plugin: {error}") from error
        found = calls.held(thought, prefer=Trace)
        trace = found if isinstance(found, Trace) else self.trace(found)
        return verify(trace, ServerReference(self), tolerance=tolerance)

    def post(self, path: str, body: Any) -> bytes:
        """The answer to any POST of JSON."""
        return self._send(Call("POST", path, body, bytes))

    def _send(self, call: Call[T]) -> T:
        with answered(self.url):
            response = self._http.request(call.method, call.path, content=content(call))
        return read(call, response)


def root(url: str) -> str:
    """Of a server's address, which may be the one of its OpenAI API."""
    return url.rstrip("/").removesuffix("/v1")


def settings(url: str, api_key: str | None, timeout: float) -> dict[str, Any]:
    """Arguments of httpx's clients. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"the server must be an http or https address; got {url!r}.")
    headers = {"Content-Type": "application/json"}
    return {
        "base_url": root(url),
        "headers": headers | ({"Authorization": f"Bearer {api_key}"} if api_key else {}),
        "timeout": httpx.Timeout(timeout, connect=min(timeout, 30.0)),
        # A connection for each request: servers close idle ones at a moment of their choice.
        "limits": httpx.Limits(max_connections=None, max_keepalive_connections=0),
        # http_proxy is not meant for the loopback interface.
        "trust_env": parts.hostname not in LOOPBACK,
    }


def content(call: Call[Any]) -> bytes | None:
    return None if call.body is None else orjson.dumps(call.body)


def read(call: Call[T], response: httpx.Response) -> T:
    """Raises ServerError."""
    if response.is_error:
        raise refusal(response.status_code, response.content)
    return call.read(response.content)


@contextmanager
def answered(url: str) -> Iterator[None]:
    """httpx's errors become NoAnswer."""
    try:
        yield
    except httpx.HTTPError as error:
        raise NoAnswer(f"{url}: {type(error).__name__}: {error}") from error
