"""The page as HTML. It was built by `make page` from `web/`; a test says that it still is of these
sources."""

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import orjson

_BLOCK = '<script type="application/json" id="trace">null</script>'


@cache
def live_html() -> str:
    """The page that asks the server that it came from. It holds nothing secret."""
    return resources.files("sglang_soft.view").joinpath("dist/page.html").read_text("utf-8")


def file_html(data: Mapping[str, Any]) -> str:
    """The page with a thought in it, which asks nobody. data: of data.py."""
    # No text may end the block: `<` is not in it.
    json = orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY).replace(b"<", b"\\u003c").decode()
    page = live_html()
    for old, new in (
        (_BLOCK, _BLOCK.replace("null", json)),
        ("connect-src 'self'; base", "connect-src 'none'; base"),
    ):
        assert page.count(old) == 1, f"{old} is not there once"
        page = page.replace(old, new)
    return page


def sources_digest() -> str:
    """Of the sources that the page was built from, as the page says: SHA-256, in hex."""
    found = re.search(r'<meta name="sources" content="([0-9a-f]{64})">', live_html())
    assert found, "the page does not say what it was built from"
    return found[1]
