"""HTTP server: `GET /soft_thinking` says what this server offers, from the same tables as the
command line and docs."""

import sys
from typing import Any

from sglang_soft import params
from sglang_soft.config import SoftConfig

PATH = "/soft_thinking"


def add_endpoint(config: SoftConfig, think_tokens, unsupported: str | None) -> None:
    """Add the endpoint to SGLang's app, if this process has one (an `Engine` has none)."""
    http_server = sys.modules.get("sglang.srt.entrypoints.http_server")
    app = getattr(http_server, "app", None)
    if app is None or any(getattr(route, "path", None) == PATH for route in app.routes):
        return

    async def soft_thinking() -> dict[str, Any]:
        """Methods and parameters of Soft Thinking, and the settings of this server."""
        return {
            "methods": params.methods_table(),
            "parameters": params.table(),
            "server": {
                "max_k": config.max_k,
                "max_vector_mb": config.max_vector_mb,
                "default": config.default,
                "think_start_id": think_tokens and think_tokens.start,
                "think_end_id": think_tokens and think_tokens.end,
                "unsupported": unsupported,
            },
        }

    app.add_api_route(PATH, soft_thinking, methods=["GET"])
