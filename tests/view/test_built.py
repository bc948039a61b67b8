"""The page that ships is the one that its sources make."""

import hashlib
import re
from pathlib import Path

from sglang_soft.view import page

WEB = Path(page.__file__).parent / "web"
OTHERS = ("build.mjs", "package-lock.json", "package.json", "page.html", "tsconfig.json")


def digest() -> str:
    """As web/build.mjs computes it."""
    found = hashlib.sha256()
    for file in [*(WEB / name for name in OTHERS), *sorted(WEB.glob("src/*"))]:
        name = file.relative_to(WEB).as_posix()
        found.update(f"{name}\0".encode() + file.read_bytes() + b"\0")
    return found.hexdigest()


def test_it_was_built_from_these_sources():
    assert page.sources_digest() == digest(), "run `make page`"


def test_it_asks_nobody_and_runs_its_own_script_only():
    html = page.live_html()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy and "default-src 'none'" in policy[1] and "unsafe" not in policy[1]
    assert "connect-src 'self';" in policy[1]
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", html)
    assert not re.search(
        r"\beval\(|new Function|innerHTML|insertAdjacentHTML|document\.write", html
    )


def test_a_file_may_not_even_ask_its_own_host():
    assert "connect-src 'none';" in page.file_html({"version": 1})
