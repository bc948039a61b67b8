"""`GET /soft_thinking/view`, the page, and `POST /soft_thinking/texts`, the text of tokens."""

import asyncio
import base64
import hashlib
import re
from typing import TYPE_CHECKING, Any

import orjson

from sglang_soft.view import access, texts
from sglang_soft.view.page import live_html

if TYPE_CHECKING:
    from sglang_soft.server.admission import FrontEnd

TEXTS = "/soft_thinking/texts"


def add(app, front_end: "FrontEnd") -> None:
    """Both, to a FastAPI application."""
    from fastapi import Request, Response
    from fastapi.responses import JSONResponse, PlainTextResponse

    async def view(request: Request) -> Response:
        """The page that shows a thought."""
        client = None if request.client is None else request.client.host
        refused = access.refusal(front_end.settings.view, client, request.headers.items())
        if refused is not None:
            status, reason = refused
            return PlainTextResponse(reason + "\n", status, headers=_PLAIN)
        html = live_html()
        return Response(html, media_type="text/html", headers=headers(html))

    async def token_texts(request: Request) -> Response:
        """The text of single tokens."""
        manager = front_end.manager
        try:
            if manager.tokenizer is None:
                raise ValueError("this server has no tokenizer (--skip-tokenizer-init).")
            ids = texts.asked(_parsed(await request.body()), manager.model_config.vocab_size)
        except ValueError as error:
            return JSONResponse({"error": {"message": str(error)}}, 400)
        # In a thread: a long thought has thousands of tokens, and other requests stream meanwhile.
        found = await asyncio.to_thread(texts.answer, manager.tokenizer, ids)
        return Response(orjson.dumps(found), media_type="application/json")

    app.add_api_route(access.PATH, view, methods=["GET"], response_model=None)
    app.add_api_route(TEXTS, token_texts, methods=["POST"], response_model=None)


def needs_no_key(method: str, path: str) -> bool:
    """Whether SGLang's check of the API key lets a request pass: the page's own HTML only. A
    browser cannot send a key when it opens a page, and the page holds nothing secret: what it asks
    for needs the key."""
    return method == "GET" and path == access.PATH


_PLAIN = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def headers(html: str) -> dict[str, str]:
    """Of the page. Only the scripts that the page was built with run, and nothing is asked of
    another host, whatever a model wrote."""
    scripts = " ".join(f"'sha256-{digest}'" for digest in _digests(html)) or "'none'"
    policy = {
        "default-src": "'none'",
        "script-src": scripts,
        "style-src": "'unsafe-inline'",
        "img-src": "data: blob:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    written = "; ".join(f"{name} {value}" for name, value in policy.items())
    return _PLAIN | {"Content-Security-Policy": written}


def _digests(html: str) -> list[str]:
    """Of the inline scripts. Data blocks (`type="application/json"`) are no scripts."""
    found = re.findall(r"<script\b([^>]*)>(.*?)</script\s*>", html, re.DOTALL | re.IGNORECASE)
    code = [text for attributes, text in found if "application/json" not in attributes]
    return [base64.b64encode(hashlib.sha256(c.encode()).digest()).decode() for c in code]


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"the body must be JSON: {error}.") from None
