"""SGLang's check of the API key: the page itself needs none."""

from sglang_soft.view.routes import needs_no_key


def decide_request_auth(original, *, method, path, **kwargs):
    """GET of the page passes; everything else is SGLang's decision."""
    if needs_no_key(method, path):
        from sglang.srt.utils.auth import AuthDecision

        return AuthDecision(allowed=True)
    return original(method=method, path=path, **kwargs)
