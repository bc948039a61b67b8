"""What goes wrong between a client and a server."""

from typing import Any

import orjson


class ServerError(ValueError):
    """The server refused. `message` is its own text, which names key, value and range."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"HTTP {status}: {message}")
        self.status, self.message = status, message


class UnknownTrace(ServerError):
    """HTTP 404: no trace is kept under this handle, or no longer."""


class NoAnswer(ConnectionError):
    """The server cannot be reached, was silent for too long, or broke off."""


def refusal(status: int, body: bytes) -> ServerError:
    """body: SGLang's endpoints and ours have the text in different places."""
    try:
        found: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = body.decode(errors="replace")[:500]
    if isinstance(found, dict):
        found = found.get("error", found)
    if isinstance(found, dict):
        status = found.get("code") or status
        found = found.get("message", found.get("detail", found))
    unknown = status == 404 and "trace" in str(found)
    return (UnknownTrace if unknown else ServerError)(status, str(found))
