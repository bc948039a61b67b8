"""What tests of the page do in a browser."""

import json
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from sglang_soft.trace import Trace

NOT_NETWORK = ("file", "data", "blob")


class Visit:
    """One page, and what it did."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.requests: list[Any] = []
        self.errors: list[str] = []
        self.dialogs: list[str] = []
        page.on("request", lambda request: self.requests.append(request))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._console)
        page.on("dialog", self._dialog)

    def _console(self, message: Any) -> None:
        # A refused request, such as the first one without a key, is no fault of the page.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.errors.append(message.text)

    def _dialog(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def hosts(self) -> set[str]:
        """Of all requests over the network."""
        urls = [urlsplit(request.url) for request in self.requests]
        return {url.netloc for url in urls if url.scheme not in NOT_NETWORK}

    def sent(self, path: str) -> list[Any]:
        """Bodies that were sent to a path, in order."""
        found = [r for r in self.requests if urlsplit(r.url).path == path]
        return [json.loads(request.post_data) for request in found]

    def until(self, expression: str, seconds: float = 60) -> None:
        """Wait until it is true. Playwright's wait_for_function needs `eval`, which the page's
        policy forbids."""
        end = monotonic() + seconds
        while not self.page.evaluate(expression):
            assert monotonic() < end, f"not in {seconds:g} s: {expression}"
            self.page.wait_for_timeout(20)

    def texts(self) -> None:
        """Wait for the texts of the tokens. The page asks the server for those that it does not
        know yet; until they come it shows a token as # and its id."""
        flows = "[...document.querySelectorAll('.flow')]"
        self.until(f"!{flows}.some((flow) => /#\\d/.test(flow.textContent))")

    def step(self) -> str:
        """Title of the first card of candidates."""
        return self.page.locator("#step-cards h3").first.inner_text()

    def download(self, button: str) -> bytes:
        with self.page.expect_download() as found:
            self.page.locator(button).click()
        return Path(found.value.path()).read_bytes()


@contextmanager
def visit(browser: Any, url: str, scheme: str = "light", width: int = 1280, height: int = 900):
    context = browser.new_context(
        color_scheme=scheme, viewport={"width": width, "height": height}, accept_downloads=True
    )
    try:
        page = context.new_page()
        found = Visit(page)
        page.goto(url)
        page.locator("html[data-ready]").wait_for(state="attached")
        yield found
    finally:
        context.close()


def trace_of(rows: list[list[tuple[int, float]]], **changes: Any) -> Trace:
    """A thought of these steps, each the candidates with their weights; it emits the first one."""
    k = max(map(len, rows))
    ids = [[*(token for token, _ in row), *[0] * (k - len(row))] for row in rows]
    weights = [[*(weight for _, weight in row), *[0.0] * (k - len(row))] for row in rows]
    part = {
        "format": 1, "method": "soft", "start": 2, "step": 0, "k": k, "prompt_ids": [1, 2],
        "ids": [row[: len(given)] for row, given in zip(ids, rows, strict=True)],
        "weights": [row[: len(given)] for row, given in zip(weights, rows, strict=True)],
        "entropy": [0.5] * len(rows), "output_ids": [row[0][0] for row in rows],
        "thinking_finish_reason": "length", "params": {"method": "soft", "max_topk": k},
    }  # fmt: skip
    return Trace.from_json(part | changes)


def serious(page: Any) -> list[str]:
    """What axe finds that is serious or critical."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
