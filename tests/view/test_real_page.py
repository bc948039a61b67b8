"""The live page with a pretrained model, whose tokens are words and parts of characters.

In `make test`, with the bundled model: test_live_page.py.
"""

import json
import re

import pytest

from launch import real_model
from launch.browser import missing
from sglang_soft.server.process import Server
from sglang_soft.trace import Trace
from sglang_soft.view.access import PATH
from tests.engine.test_deterministic import pretrained
from tests.view.browsing import serious, visit

pytestmark = [pytest.mark.browser, pytest.mark.engine, pytest.mark.full]


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    if reason := missing():
        pytest.skip(reason)
    args = ["--model-path", str(pretrained()), "--soft-think-end", real_model.THINK_END]
    log = tmp_path_factory.mktemp("real") / "log"
    with Server([*args, "--soft-view"], log=log) as server:
        yield server.url


def test_a_thought_of_a_pretrained_model(browser, real, tmp_path):
    with visit(browser, real + PATH) as visited:
        page = visited.page
        page.locator("#parameters input").first.wait_for(state="attached")
        page.locator("#question-input").fill("Why is the sky blue? Answer with a 😀.")
        page.locator("#ask summary").click()
        page.locator("#p-thinking_start").select_option("now")
        page.locator("#p-max_thinking_tokens").fill("60")
        page.locator("#p-top_k").fill("30")
        page.locator("#ask summary").click()
        page.locator("#max-tokens").fill("90")
        page.locator("#go").click()
        page.locator("#status", has_text=re.compile("^Done: 60")).wait_for(timeout=300_000)
        trace = Trace.from_json(json.loads(visited.download("#save-json")))
        assert trace.thinking_finish_reason == "max_thinking_tokens"
        assert trace.model["layers"] == 30 and len(trace.steps) >= 60
        page.get_by_role("listbox").press("n")
        assert page.locator("#step .bars li").count() >= 2  # it was torn somewhere
        visited.texts()
        assert "\ufffd" not in page.locator(".flow").text_content()
        assert serious(page) == []

        step = int(re.search(r"Step (\d+) of", visited.step())[1])
        page.locator("#step .bars li").nth(1).get_by_role("button", name="keep").click()
        page.locator("#status", has_text=re.compile("^Done")).wait_for(timeout=300_000)
        assert page.locator("#difference").inner_text() == f"First difference at step {step}"

        html = tmp_path / "thought.html"
        html.write_bytes(visited.download("#save-html"))
        assert visited.errors == [] and visited.hosts() == {real.removeprefix("http://")}
    with visit(browser, html.as_uri()) as visited:
        assert visited.page.locator(".flow").count() == 2
        assert visited.hosts() == set() and visited.errors == []
