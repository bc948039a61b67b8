"""Why this scheduler's process cannot run soft requests, where the plugin is merely installed.

What makes it so is found where it is known: when the model is loaded or the sampler is made. A
server that was asked for Soft Thinking does not start then; any other one serves discrete requests
as if the plugin were not there, and answers a soft one with an error.
"""

from sglang_soft.server.settings import get_settings

_reasons: list[str] = []


def found(reason: str) -> None:
    """Raises SystemExit if this server was asked for Soft Thinking."""
    if get_settings().enabled:
        raise SystemExit(f"sglang-soft: {reason}. Run without the plugin: SGLANG_PLUGINS=none.")
    _reasons.append(reason)


def reason() -> str | None:
    """The first reason, or None."""
    return _reasons[0] if _reasons else None
