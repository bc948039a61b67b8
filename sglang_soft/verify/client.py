"""Requests to a server."""

import http.client
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import orjson

from sglang_soft.params import KEY
from sglang_soft.server.process import LOOPBACK

_SECONDS = 3600.0
"""That an answer may take."""


class Client:
    """One server, by the address of its HTTP port."""

    def __init__(self, url: str, api_key: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        if urlsplit(url).scheme not in ("http", "https"):
            raise ValueError(f"the server must be an http or https address; got {url!r}.")
        # http_proxy is not meant for the loopback interface.
        direct = urlsplit(url).hostname in LOOPBACK
        proxies = [urllib.request.ProxyHandler({})] if direct else []
        self._opener = urllib.request.build_opener(*proxies)

    def post(self, path: str, body: dict[str, Any]) -> bytes:
        """Raises ValueError: the server refused; OSError: it does not answer."""
        request = urllib.request.Request(self.url + path, orjson.dumps(body), self._headers)
        try:
            with self._opener.open(request, timeout=_SECONDS) as response:
                return response.read()
        except urllib.error.HTTPError as error:
            raise ValueError(f"{self.url}{path}: {error.code}: {_message(error.read())}") from error
        except http.client.HTTPException as error:
            raise OSError(f"{self.url}{path}: {error!r}") from error

    def ask(self, question: str, params: dict[str, Any], max_tokens: int) -> dict[str, Any]:
        """A chat answer with its trace. params: the object `soft_thinking`."""
        body = {
            "model": "default",
            "messages": [{"role": "user", "content": question}],
            "max_tokens": max_tokens,
            "custom_params": {KEY: params | {"return_concepts": True}},
        }
        return orjson.loads(self.post("/v1/chat/completions", body))


def _message(body: bytes) -> str:
    """The text of an error, as SGLang's endpoints or ours have it."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode(errors="replace")[:500]
    if isinstance(found, dict):
        found = found.get("error", found)
    if isinstance(found, dict):
        found = found.get("message", found)
    return str(found)
