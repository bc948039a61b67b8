"""Traces that the server keeps for its clients: `keep`, and the handle that stands for one.

They are held in the memory of the front end, within a bound of time and of bytes; the one that was
used longest ago goes first. A handle is 128 random bits: who has it may use the trace, as long as
the request has the same `extra_key` and `cache_salt`, by which SGLang keeps tenants apart.
"""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from sglang_soft.trace import Trace

Tenant = tuple[str | None, str | None]
"""`extra_key` and `cache_salt` of a request; None where it has none."""
NO_TENANT: Tenant = (None, None)

PREFIX = "trace-"
"""Of every handle; no base64 text has a hyphen."""
_OVERHEAD = 2048
"""Bytes of Python objects of a kept trace, its header included, about."""


class UnknownTrace(ValueError):
    """No trace is kept under a handle: an HTTP 404 where the endpoint can say so."""


class Kept(NamedTuple):
    trace: Trace
    tenant: Tenant
    nbytes: int
    expires: float
    """Seconds, of the store's clock."""


class KeptTraces:
    """Of one front end."""

    def __init__(
        self, max_bytes: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """seconds: how long a trace is kept after its last use."""
        self.max_bytes, self.seconds, self._clock = max_bytes, seconds, clock
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        """By handle, the one that was used longest ago first."""
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, trace: Trace, tenant: Tenant = NO_TENANT) -> dict[str, Any]:
        """Keep a trace. Returns what the client reads: `id`, `expires_in` and `bytes`, or `id` null
        and `error` where it is larger than the bound."""
        nbytes = trace.nbytes + _OVERHEAD
        if nbytes > self.max_bytes:
            error = (
                f"the trace has {nbytes} bytes, the server keeps {self.max_bytes} (--soft-keep-mb)"
            )
            return {"id": None, "error": error}
        self._expire()
        while self.nbytes + nbytes > self.max_bytes:
            self._drop(next(iter(self._kept)))
        handle = PREFIX + secrets.token_hex(16)
        self._kept[handle] = Kept(trace, tenant, nbytes, self._clock() + self.seconds)
        self.nbytes += nbytes
        return {"id": handle, "expires_in": self.seconds, "bytes": nbytes}

    def get(self, handle: str, tenant: Tenant = NO_TENANT) -> Trace:
        """Raises UnknownTrace: it was never there, has expired, gave way to others, or is another
        tenant's."""
        self._expire()
        kept = self._kept.get(handle)
        if kept is None or kept.tenant != tenant:
            raise UnknownTrace(
                f"no trace is kept under {handle[:60]!r}: it is unknown, of another extra_key or "
                f"cache_salt, expired (--soft-keep-seconds, now {self.seconds:g}), or was dropped "
                "for others (--soft-keep-mb)."
            )
        self._kept[handle] = kept._replace(expires=self._clock() + self.seconds)
        self._kept.move_to_end(handle)
        return kept.trace

    def drop(self, handle: str, tenant: Tenant = NO_TENANT) -> None:
        """Raises UnknownTrace, as `get`."""
        self.get(handle, tenant)
        self._drop(handle)

    def _drop(self, handle: str) -> None:
        self.nbytes -= self._kept.pop(handle).nbytes

    def _expire(self) -> None:
        now = self._clock()
        while self._kept:
            handle, kept = next(iter(self._kept.items()))
            if kept.expires > now:
                return
            self._drop(handle)
