"""The HTTP client of the evals: JSON over aiohttp, as in SGLang's own `bench_serving`.

It tells a request that failed from a server that is gone: the first is a record of the run, the
second stops it. sgl-eval's client is not used: after six tries it returns an empty answer without
a reason, and that would be graded as a wrong answer.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

import aiohttp
import orjson

from sglang_soft_evals.address import is_loopback

HEALTH_TRIES = 3
HEALTH_PAUSE = 2.0
"""Seconds between two tries."""
CLOSED_TRIES = 3
"""How often a request is sent if the server closes its connection and is healthy. The seed is the
same, so a sample is not drawn twice."""


BUSY_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, *[60.0] * 9)
"""Seconds before a sample is asked again if a healthy server is too busy for it (HTTP 429, 503)."""


class NoAnswerError(Exception):
    """A request got no answer: no connection, a broken one, or no answer in time."""


class ClosedError(NoAnswerError):
    """The server (or what is before it) closed the connection before it answered."""


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
        error = content.get("error")
        inner = error.get("message") if isinstance(error, dict) else error  # OpenAI's form
        return f"HTTP {self.status}: {content.get('message') or inner or error or content}"


class Client:
    """Requests to one server (`address.root`), any number at once.

    Requests to this machine never go through a proxy. Others use the proxy that the environment
    names (http_proxy, https_proxy, no_proxy).
    """

    def __init__(self, base_url: str, *, timeout_s: float, api_key: str | None = None) -> None:
        self.base_url = base_url
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=30),
            # A connection for each request: servers close idle ones at a moment of their choice.
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
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

    async def get_if_there(self, path: str) -> dict[str, Any]:
        """The JSON object of a GET; empty if the server has no such endpoint."""
        try:
            async with self._session.get(f"{self.base_url}{path}") as response:
                content = orjson.loads(await response.read()) if response.status == 200 else {}
        except (aiohttp.ClientError, asyncio.TimeoutError, orjson.JSONDecodeError):
            content = {}
        return content if isinstance(content, dict) else {}

    async def refusal(self, body: Mapping[str, Any]) -> str | None:
        """Why the server refuses a chat request; None: it began to answer, and was then stopped."""
        url = f"{self.base_url}/v1/chat/completions"
        try:
            async with self._session.post(url, json={**body, "stream": True}) as response:
                if response.status != 200:
                    return _answer(response.status, await response.read()).error
                async for line in response.content:
                    if line.startswith(b"data:"):
                        answer = _answer(200, line.removeprefix(b"data:"))
                        return answer.error if "error" in answer.content else None
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            return f"{type(error).__name__}: {error}"
        return None

    async def post(self, path: str, body: Mapping[str, Any]) -> Answer:
        """POST a JSON object. Raises NoAnswerError."""
        try:
            async with self._session.post(f"{self.base_url}{path}", json=body) as response:
                raw = await response.read()
        except asyncio.TimeoutError as error:
            raise NoAnswerError("the request timed out") from error
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            raise ClosedError(f"{type(error).__name__}: {error}") from error
        except aiohttp.ClientError as error:
            raise NoAnswerError(f"{type(error).__name__}: {error}") from error
        return _answer(response.status, raw)

    async def patient_chat(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """As `chat`; asks again, after BUSY_PAUSES, while the server is too busy."""
        for pause in BUSY_PAUSES:
            completion = await self.chat(body)
            if completion.get("status") not in (429, 503):
                return completion
            await asyncio.sleep(pause)
        return await self.chat(body)

    async def chat(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The chat completion, or `{"error": text, "status": HTTP status or 0}`.

        Raises ServerGoneError if there is no answer and the server is not healthy.
        """
        for tries in range(1, CLOSED_TRIES + 1):
            try:
                answer = await self.post("/v1/chat/completions", body)
                break
            except NoAnswerError as error:
                if not await self.healthy():
                    raise ServerGoneError(f"{self.base_url} does not answer ({error})") from error
                if tries == CLOSED_TRIES or not isinstance(error, ClosedError):
                    return {"error": str(error), "status": 0}
        if answer.status in (502, 503, 504) and not await self.healthy():  # said by a gateway
            raise ServerGoneError(f"{self.base_url} is not healthy ({answer.error})")
        if answer.status != 200 or not isinstance(answer.content.get("choices"), list):
            return {"error": answer.error, "status": answer.status}
        return answer.content

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


def _answer(status: int, raw: bytes) -> Answer:
    try:
        content = orjson.loads(raw)
    except orjson.JSONDecodeError:
        content = None
    if not isinstance(content, dict):
        content = {"message": raw.decode(errors="replace")[:500]}
    return Answer(status, content)
