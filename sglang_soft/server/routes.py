"""What the plugin adds to SGLang's HTTP application: the layer of http.py, and
`GET /soft_thinking`, which says what this server offers, from the same tables as the command line
and the docs."""

import sys
from typing import Any

from sglang_soft import presets, resolve
from sglang_soft.server import http
from sglang_soft.server.settings import Settings

PATH = "/soft_thinking"
_NO_THINK_TOKENS = {"think_start_id": None, "think_end_id": None}


def add_to_http(settings: Settings, think_tokens, unsupported: str | None) -> None:
    """Both, if this process has an application (an `Engine` has none)."""
    http_server = sys.modules.get("sglang.srt.entrypoints.http_server")
    app = getattr(http_server, "app", None)
    if app is None:
        return
    http.install(app)
    if any(getattr(route, "path", None) == PATH for route in app.routes):
        return

    async def soft_thinking() -> dict[str, Any]:
        """Methods and parameters of Soft Thinking, and the settings of this server."""
        return {
            "methods": resolve.methods_table(),
            "parameters": resolve.table(),
            "presets": presets.table(),
            "schema": resolve.json_schema(),
            "server": {
                "max_k": settings.max_k,
                "max_vector_mb": settings.max_vector_mb,
                "max_vector_mb_total": settings.max_vector_mb_total,
                "default": settings.default,
                **(think_tokens.to_json() if think_tokens else _NO_THINK_TOKENS),
                "unsupported": unsupported,
            },
        }

    app.add_api_route(PATH, soft_thinking, methods=["GET"])
