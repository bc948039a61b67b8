"""HTTP route: `GET /soft_thinking` says what this server offers.

From the same tables as the command line and the docs.
"""

import sys
from typing import Any

from sglang_soft import resolve
from sglang_soft.server.settings import Settings

PATH = "/soft_thinking"


def add_route(settings: Settings, think_tokens, unsupported: str | None) -> None:
    """Add the route to SGLang's app, if this process has one (an `Engine` has none)."""
    http_server = sys.modules.get("sglang.srt.entrypoints.http_server")
    app = getattr(http_server, "app", None)
    if app is None or any(getattr(route, "path", None) == PATH for route in app.routes):
        return

    async def soft_thinking() -> dict[str, Any]:
        """Methods and parameters of Soft Thinking, and the settings of this server."""
        return {
            "methods": resolve.methods_table(),
            "parameters": resolve.table(),
            "schema": resolve.json_schema(),
            "server": {
                "max_k": settings.max_k,
                "max_vector_mb": settings.max_vector_mb,
                "default": settings.default,
                "think_start_id": think_tokens and think_tokens.start,
                "think_end_id": think_tokens and think_tokens.end,
                "unsupported": unsupported,
            },
        }

    app.add_api_route(PATH, soft_thinking, methods=["GET"])
