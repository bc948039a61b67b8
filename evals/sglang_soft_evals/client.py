"""The HTTP client of the evals: JSON over aiohttp, as in SGLang's own `bench_serving`.

It tells a request that failed from a server that is gone: the first is a record of the run, the
second stops it. sgl-eval's client is not used: after six tries it returns an empty answer without
a reason, and that would be graded as a wrong answer.
"""

import asyncio
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import orjson

HEALTH_TRIES = 3
HEALTH_PAUSE = 2.0
"""Seconds between two tries."""


class NoAnswerError(Exception):
    """A request got no answer: no connection, a broken one, or no answer in time."""


class ServerGoneError(Exception):
    """The server does not answer any more: nothing is recorded, and the run can be resumed."""


class Answer(NamedTuple):
    status: int
    """HTTP status."""
    content: dict[str, Any]
    """The JSON object; `{"message": text}` if the answer is not one."""

    @property
    def error(self) -> str:
        """What an answer without the expected content says."""
        content = self.content
        return f"HTTP {self.status}: {content.get('message') or content.get('error') or content}"


class Client:
    """Requests to one server, any number at once.

    Requests to this machine never go through a proxy. Others use the proxy that the environment
    names (http_proxy, https_proxy, no_proxy).
    """

    def __init__(self, base_url: str, *, timeout_s: float, api_key: str | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=30),
            connector=aiohttp.TCPConnector(limit=0),
            headers=None if api_key is None else {"Authorization": f"Bearer {api_key}"},
            trust_env=not is_loopback(base_url),
        )

    async def close(self) -> None:
        await self._session.close()

    async def get(self, path: str) -> Any:
        """JSON of a GET. Raises ServerGoneError if the server does not answer with it."""
        try:
            async with self._session.get(f"{self.base_url}{path}") as response:
                response.raise_for_status()
                return orjson.loads(await response.read())
        except (aiohttp.ClientError, asyncio.TimeoutError, orjson.JSONDecodeError) as error:
            message = f"{self.base_url}{path}: {error or type(error).__name__}"
            raise ServerGoneError(message) from error

    async def post(self, path: str, body: Mapping[str, Any]) -> Answer:
        """POST a JSON object. Raises NoAnswerError."""
        try:
            async with self._session.post(f"{self.base_url}{path}", json=body) as response:
                raw = await response.read()
        except asyncio.TimeoutError as error:
            raise NoAnswerError("the request timed out") from error
        except aiohttp.ClientError as error:
            raise NoAnswerError(f"{type(error).__name__}: {error}") from error
        try:
            content = orjson.loads(raw)
        except orjson.JSONDecodeError:
            content = None
        if not isinstance(content, dict):
            content = {"message": raw.decode(errors="replace")[:500]}
        return Answer(response.status, content)

    async def chat(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The chat completion, or `{"error": text, "status": HTTP status or 0}`.

        Raises ServerGoneError if there is no answer and the server is not healthy.
        """
        try:
            answer = await self.post("/v1/chat/completions", body)
        except NoAnswerError as error:
            if not await self.healthy():
                raise ServerGoneError(f"{self.base_url} does not answer ({error})") from error
            return {"error": str(error), "status": 0}
        if answer.status != 200 or "choices" not in answer.content:
            return {"error": answer.error, "status": answer.status}
        return answer.content

    async def count_tokens(self, model: str, text: str) -> int | None:
        """Tokens of a text by the server's tokenizer; None: the server does not say."""
        body = {"model": model, "prompt": text, "add_special_tokens": False}
        try:
            answer = await self.post("/tokenize", body)
        except NoAnswerError:
            return None
        count = answer.content.get("count") if answer.status == 200 else None
        return count if isinstance(count, int) else None

    async def refusal(self, body: Mapping[str, Any]) -> str | None:
        """Why the server refuses this request as it is, or None; the answer is not waited for.

        Raises ServerGoneError as `chat`.
        """
        url = f"{self.base_url}/v1/chat/completions"
        try:
            async with self._session.post(url, json=dict(body) | {"stream": True}) as response:
                line = b""
                async for line in response.content:
                    if line.strip():
                        break
                if response.status == 200 and not line.startswith(b'data: {"error"'):
                    return None
                return f"HTTP {response.status}: {(line + await response.read()).decode()[:500]}"
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            if not await self.healthy():
                raise ServerGoneError(f"{self.base_url} does not answer ({error})") from error
            return f"{type(error).__name__}: {error}"

    async def healthy(self) -> bool:
        """Whether `/health` answers, in one of HEALTH_TRIES tries."""
        url, timeout = f"{self.base_url}/health", aiohttp.ClientTimeout(total=30)
        for attempt in range(HEALTH_TRIES):
            if attempt:
                await asyncio.sleep(HEALTH_PAUSE)
            try:
                async with self._session.get(url, timeout=timeout) as response:
                    if response.status == 200:
                        return True
            except (aiohttp.ClientError, asyncio.TimeoutError):
                pass
        return False


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
