"""What the plugin adds to SGLang's HTTP application: the layer of http.py,
`GET /soft_thinking`, which says what this server offers, from the same tables as the command line
and the docs, `POST /soft_thinking/logits` (reading.py), and
`/soft_thinking/traces/HANDLE`, a kept trace (kept.py)."""

import io
import sys
from typing import TYPE_CHECKING, Any

from sglang_soft import presets, resolve
from sglang_soft.params import KEY
from sglang_soft.server import http
from sglang_soft.server.kept import UnknownTrace

if TYPE_CHECKING:
    from sglang_soft.server.admission import FrontEnd

PATH = "/soft_thinking"
_NO_THINK_TOKENS = {"think_start_id": None, "think_end_id": None}


def add_to_http(front_end: "FrontEnd") -> None:
    """All of them, if this process has an application (an `Engine` has none)."""
    settings, think_tokens = front_end.settings, front_end.think_tokens
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
            "stop_rules": resolve.stop_rules_table(),
            "presets": presets.table(),
            "schema": resolve.json_schema(),
            "kept": front_end.kept.state(),
            "server": {
                "max_k": settings.max_k,
                "max_vector_mb": settings.max_vector_mb,
                "max_vector_mb_total": settings.max_vector_mb_total,
                "default": settings.default,
                **(think_tokens.to_json() if think_tokens else _NO_THINK_TOKENS),
                "unsupported": front_end.unsupported,
            },
        }

    app.add_api_route(PATH, soft_thinking, methods=["GET"])
    _add_reading(app, front_end)
    _add_traces(app, front_end)


def _add_reading(app, front_end: "FrontEnd") -> None:
    from fastapi import Request, Response
    from fastapi.responses import JSONResponse

    from sglang_soft.server import reading

    async def logits(request: Request) -> Response:
        """Prompt and trace in one prefill: the logits of its steps, as npz."""
        manager = front_end.manager
        try:
            body = http.parsed(await request.body())
            asked = reading.request(body, manager.model_config, front_end.settings)
            out = await anext(manager.generate_request(asked, request))
            info = out["meta_info"][KEY]
            if "logits" not in info:
                raise ValueError(str(out["meta_info"]["finish_reason"]))
        except ValueError as error:
            return JSONResponse({"error": {"message": str(error)}}, 400)
        content = reading.answer(info, manager.tokenizer)
        return Response(content, media_type="application/octet-stream")

    app.add_api_route(reading.PATH, logits, methods=["POST"])


def _add_traces(app, front_end: "FrontEnd") -> None:
    from fastapi import Response
    from fastapi.responses import JSONResponse

    path = PATH + "/traces/{handle}"

    def of(handle: str, extra_key: str | None, cache_salt: str | None, drop: bool) -> Response:
        tenant = extra_key or None, cache_salt or None
        try:
            trace = front_end.kept.get(handle, tenant)
        except UnknownTrace as error:
            return JSONResponse({"error": {"message": str(error)}}, 404)
        if drop:
            front_end.kept.drop(handle, tenant)
            return JSONResponse({"dropped": handle})
        return JSONResponse(trace.to_json())

    async def get(
        handle: str, format: str = "json", extra_key: str | None = None,
        cache_salt: str | None = None,
    ) -> Response:  # fmt: skip
        """A kept trace, as JSON or with `?format=npz` as a file."""
        if format not in ("json", "npz"):
            return JSONResponse(
                {"error": {"message": f"format must be json or npz; got {format!r}."}}, 400
            )
        answer = of(handle, extra_key, cache_salt, drop=False)
        if format == "json" or answer.status_code != 200:
            return answer
        file = io.BytesIO()
        front_end.kept.get(handle, (extra_key or None, cache_salt or None)).save(file)
        return Response(file.getvalue(), media_type="application/octet-stream")

    async def drop(
        handle: str, extra_key: str | None = None, cache_salt: str | None = None
    ) -> Response:
        """Forget it."""
        return of(handle, extra_key, cache_salt, drop=True)

    app.add_api_route(path, get, methods=["GET"], response_model=None)
    app.add_api_route(path, drop, methods=["DELETE"], response_model=None)
