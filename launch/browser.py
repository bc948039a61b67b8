"""Chromium, for pictures, benchmarks and tests of the page."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_ARGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def missing() -> str | None:
    """Why there is no browser here; None: there is one."""
    if path() is None:
        return "no Chromium (`make chromium`)"
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "no Playwright (extra: test)"
    return None


def path() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[Any]:
    """Playwright's Browser. Raises RuntimeError: there is none."""
    if reason := missing():
        raise RuntimeError(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path(), args=[*_ARGS])
        try:
            yield browser
        finally:
            browser.close()
