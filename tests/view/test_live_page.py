"""The live page in Chromium, on a real server with the bundled model."""

import io
import json
import re

import numpy as np
import pytest
import requests

from sglang_soft import methods
from sglang_soft.trace import Trace
from sglang_soft.view.access import PATH
from tests.view.browsing import Visit, serious, trace_of, visit

pytestmark = [pytest.mark.browser, pytest.mark.engine]
KEY = {"Authorization": "Bearer sesame"}
COLD_STOP = {"cold_stop_entropy": "0.2", "cold_stop_steps": "12"}
SECONDS = 60_000


@pytest.fixture
def live(browser, guarded):
    with visit(browser, guarded + PATH) as visited:
        unlock(visited)
        yield visited
        assert visited.errors == [] and visited.dialogs == []
        assert visited.hosts() == {guarded.removeprefix("http://")}


def unlock(visited: Visit) -> None:
    visited.page.locator("#key").fill("sesame")
    visited.page.keyboard.press("Enter")
    visited.page.locator("#parameters input").first.wait_for(state="attached")


def set_parameters(visited: Visit, values: dict[str, str]) -> None:
    visited.page.locator("#ask summary").click()
    for name, value in values.items():
        visited.page.locator(f"#p-{name}").fill(value)
    visited.page.locator("#ask summary").click()


def done(visited: Visit, word: str = "Done") -> None:
    visited.page.locator("#status", has_text=re.compile(f"^{word}")).wait_for(timeout=SECONDS)
    visited.page.locator("#go:not(:disabled)").wait_for()
    visited.until("[...document.querySelectorAll('.answer')].at(-1).textContent !== ''")
    visited.texts()


def ask(visited: Visit, parameters: dict[str, str] | None = None) -> None:
    set_parameters(visited, COLD_STOP if parameters is None else parameters)
    visited.page.locator("#go").click()
    done(visited)


def trace(visited: Visit) -> Trace:
    """Of the thought that was chosen last, as the page saves it."""
    return Trace.from_json(json.loads(visited.download("#save-json")))


def test_it_asks_for_the_key_once_and_again_if_it_is_wrong(browser, guarded):
    with visit(browser, guarded + PATH) as visited:
        page = visited.page
        page.locator("#key").fill("wrong")
        page.keyboard.press("Enter")
        visited.until("document.querySelector('#key').value === ''")
        page.locator("#key-dialog[open]").wait_for()
        unlock(visited)
        shown = page.locator("#method option").all_inner_texts()
        assert shown == list(methods.names())
        assert page.evaluate("Object.keys(localStorage).length + document.cookie.length") == 0
        page.reload()
        page.locator("#parameters input").first.wait_for(state="attached")
        assert not page.locator("#key-dialog[open]").count()


def test_ask_and_the_same_thought_as_a_chat(live, guarded):
    ask(live)
    body = live.sent("/generate")[-1]
    # Only what differs from the defaults.
    assert body["sampling_params"]["custom_params"]["soft_thinking"] == {
        "cold_stop_entropy": 0.2, "cold_stop_steps": 12, "keep": True, "return_concepts": True,
    }  # fmt: skip
    ours = trace(live)
    soft = {"cold_stop_entropy": 0.2, "cold_stop_steps": 12, "return_concepts": True}
    chat = {
        "model": "default", "messages": [{"role": "user", "content": "What is 43*34?"}],
        "temperature": 0.6, "return_meta_info": True, "custom_params": {"soft_thinking": soft},
    }  # fmt: skip
    answer = requests.post(f"{guarded}/v1/chat/completions", json=chat, headers=KEY, timeout=60)
    choice = answer.json()["choices"][0]
    theirs = Trace.from_json(choice["meta_info"]["soft_thinking"]["trace"])
    assert ours.prompt_ids.tolist() == theirs.prompt_ids.tolist()
    assert ours.output_ids[:43].tolist() == theirs.output_ids[:43].tolist()
    assert live.page.locator("#answer0").inner_text().strip() == "Answer: 1462"
    facts = live.page.locator("#facts").inner_text()
    assert "Cold Stop ended it" in facts and "tokens/s" in facts
    assert "What is 43*34?" in live.page.locator("#question").inner_text()


def test_bad_parameters_are_errors_and_the_page_goes_on(live):
    set_parameters(live, {"top_p": "7"})
    live.page.locator("#go").click()
    live.page.locator("#status.bad", has_text="top_p").wait_for()
    assert live.page.evaluate("document.activeElement.id") == "p-top_p"
    live.page.locator("#ask summary").click()
    assert live.sent("/generate") == []  # the schema's range is checked here
    set_parameters(live, {"top_p": "", "closing_text": "</think>"})
    live.page.locator("#go").click()
    live.page.locator("#status.bad", has_text="closing_text").wait_for()  # the server's own words
    ask(live, {"closing_text": "", **COLD_STOP})


STOP_AT_20 = """() => new Promise((done, failed) => {
  const end = performance.now() + 60000;
  const look = () => {
    const steps = document.querySelectorAll(".flow .token").length;
    const thinks = document.querySelector("#status").textContent === "Thinking…";
    if (steps > 20 && thinks) { document.querySelector("#stop").click(); done(steps); }
    else if (performance.now() > end) failed(new Error(`${steps} steps, thinks: ${thinks}`));
    else setTimeout(look, 5);
  };
  look();
})"""
"""In the browser, since the thought would be over on a busy machine before Playwright has clicked."""


def test_stop_and_continue(live):
    live.page.locator("#temperature").fill("4")
    live.page.locator("#max-tokens").fill("900")
    live.page.locator("#go").click()
    assert live.page.evaluate(STOP_AT_20) < 800  # steps are shown while others are still made
    live.page.locator("#status", has_text="Stopped").wait_for(timeout=SECONDS)
    stopped = trace(live)
    assert stopped.thinking_finish_reason == "abort" and 20 < len(stopped.steps) < 800
    live.page.locator("#max-tokens").fill("20")
    live.page.get_by_role("listbox").press("End")
    live.page.get_by_role("button", name="Answer").click()
    done(live)
    body = live.sent("/generate")[-1]["sampling_params"]["custom_params"]["soft_thinking"]
    assert body["at"] == "answer" and body["cut"] == len(stopped.steps)


def test_discrete_next_to_soft(live):
    live.page.locator("#discrete").check()
    live.page.locator("#seed").fill("5")
    ask(live)
    both = [b["sampling_params"]["custom_params"]["soft_thinking"] for b in live.sent("/generate")]
    assert [one.get("method") for one in both] == [None, "cot"]
    assert live.page.locator(".flow").count() == 2
    weights = live.page.locator("#step-cards .card").nth(1).locator(".weight").all_inner_texts()
    assert weights == ["1.000"]  # one token at every step
    assert re.match(
        "First difference at step|No difference", live.page.locator("#difference").inner_text()
    )


def test_continue_gives_the_same_and_fork_another_method(live):
    ask(live)
    first = trace(live)
    flow = live.page.get_by_role("listbox")
    flow.press("n")
    assert live.step() == "Step 7 of 43"
    live.page.get_by_role("button", name="Continue").click()
    done(live)
    body = live.sent("/generate")[-1]["sampling_params"]["custom_params"]["soft_thinking"]
    assert body["trace"].startswith("trace-") and body["cut"] == 7 and body["at"] == "next"
    live.page.locator(".flow").nth(1).press("Home")
    again = trace(live)
    assert again.output_ids.tolist() == first.output_ids.tolist()

    live.page.locator("#method").select_option("soft_gumbel")
    live.page.locator("#seed").fill("3")
    live.page.locator(".flow").nth(0).press("n")
    live.page.get_by_role("button", name="Fork", exact=True).click()
    done(live)
    live.page.locator(".flow").nth(1).press("Home")
    forked = trace(live)
    assert forked.method == "soft_gumbel" and len(forked.segments) == 2
    assert forked.output_ids[:7].tolist() == first.output_ids[:7].tolist()


@pytest.mark.parametrize("edit", ["keep", "remove", "sharpen"])
def test_edits_are_those_of_the_python_side(live, edit):
    ask(live)
    before = trace(live)
    live.page.get_by_role("listbox").press("n")
    token = int(before.concept(7).ids[0 if edit == "remove" else 1])
    row = live.page.locator("#step .bars li").nth(0 if edit == "remove" else 1)
    if edit == "sharpen":
        live.page.get_by_label("Temperature of sharpen").fill("0.4")
        live.page.get_by_role("button", name="Sharpen").click()
        wanted = before.edit.sharpen(7, 0.4)
    else:
        row.get_by_role("button", name=edit).click()
        change = before.edit.remove if edit == "remove" else before.edit.replace
        wanted = change(7, token if edit == "remove" else [token])
    done(live)
    sent = live.sent("/generate")[-1]["sampling_params"]["custom_params"]["soft_thinking"]
    ours, theirs = Trace.from_json(sent["trace"]), wanted
    assert np.array_equal(ours.ids, theirs.ids)
    assert np.allclose(ours.weights, theirs.weights, rtol=1e-6, atol=0)
    strip = ("ids", "weights")
    assert {k: v for k, v in ours.to_json().items() if k not in strip} == {
        k: v for k, v in theirs.to_json().items() if k not in strip
    }
    live.page.locator(".flow").nth(1).press("Home")
    after = trace(live)
    assert any(segment.get("edited") for segment in after.segments)
    assert after.thinking_finish_reason is not None


def test_keep_link_download_and_open_again(live, browser, guarded, tmp_path):
    ask(live)
    first = trace(live)
    shown = live.page.locator(".flow").text_content()
    npz = Trace.load(io.BytesIO(live.download("#save-npz")))
    assert npz.to_json() == first.to_json()
    live.page.locator("#link").click()
    live.page.wait_for_url(re.compile(r"\?trace=trace-[0-9a-f]{32}$"))
    handle = live.page.url.partition("=")[2]
    kept = requests.get(
        f"{guarded}/soft_thinking/traces/{handle}?format=npz", headers=KEY, timeout=60
    )
    assert Trace.load(io.BytesIO(kept.content)).to_json() == first.to_json()
    live.page.reload()
    live.page.locator("#status", has_text="kept thought of 43 steps").wait_for()
    live.until(f"document.querySelector('.flow').textContent === {json.dumps(shown)}")

    html = tmp_path / "thought.html"
    html.write_bytes(live.download("#save-html"))
    with visit(browser, html.as_uri()) as file:
        file.page.locator(".flow .token").first.wait_for()
        assert file.page.locator(".flow").text_content() == shown
        assert file.page.locator("#answer0").inner_text().strip() == "Answer: 1462"
        assert not file.page.locator("#ask").is_visible()
        assert file.hosts() == set() and file.errors == []
    # The file again in the live page: from there it can be gone on with.
    live.page.set_input_files("#file", html)
    live.page.locator("#status", has_text="Opened thought.html").wait_for()
    live.page.get_by_role("listbox").press("n")
    live.page.get_by_role("button", name="Continue").click()
    done(live)
    live.page.locator(".flow").nth(1).press("Home")
    assert trace(live).output_ids.tolist() == first.output_ids.tolist()


def test_texts_of_forks_that_become_known_later(live):
    def open_trace(*steps: list[tuple[int, float]]) -> None:
        text = json.dumps(trace_of([*steps]).to_json()).encode()
        file = {"name": "t.json", "mimeType": "application/json", "buffer": text}
        live.page.set_input_files("#file", file)
        live.page.locator(".flow .token").nth(len(steps) - 1).wait_for()

    open_trace([(30, 1.0)])
    live.page.locator("#fork").fill("0.5")
    open_trace([(30, 1.0)], [(31, 0.6), (32, 0.4)])
    live.texts()
    live.page.locator("#fork").fill("0.25")  # only now is the text of 32 asked for
    live.page.locator(".flow .other").wait_for()
    live.texts()
    assert live.sent("/soft_thinking/texts")[-1] == {"ids": [32]}


def test_a_refused_request_leaves_the_thought_that_was_there(live):
    ask(live)
    flow, answer = live.page.locator(".flow"), live.page.locator(".answer")
    shown = flow.text_content(), answer.text_content()
    set_parameters(live, {"max_topk": "1000"})
    live.page.locator("#go").click()
    live.page.locator("#status.bad", has_text="max_topk is out of range").wait_for()
    assert (flow.text_content(), answer.text_content()) == shown


def test_an_unknown_handle_says_so(live, guarded):
    live.page.goto(f"{guarded}{PATH}?trace=trace-0")
    live.page.locator("#status.bad", has_text="no trace is kept").wait_for()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_accessible_and_as_narrow_as_a_phone(browser, guarded, scheme, width):
    with visit(browser, guarded + PATH, scheme, width) as visited:
        assert serious(visited.page) == []  # the dialog
        unlock(visited)
        ask(visited)
        visited.page.locator("#ask summary").click()
        assert serious(visited.page) == []
        assert visited.page.evaluate("document.documentElement.scrollWidth") == width


def test_asked_by_keyboard_alone(live):
    page, press = live.page, live.page.keyboard.press
    page.evaluate("document.activeElement.blur()")

    def tab_to(selector: str) -> None:
        for _ in range(60):
            press("Tab")
            if page.evaluate(f"document.activeElement.matches('{selector}')"):
                return
        raise AssertionError(f"Tab does not reach {selector}")

    tab_to("#question-input")
    press("Control+a")
    page.keyboard.type("What is 12*13?")
    press("Enter")
    done(live)
    tab_to(".flow")
    press("n")
    tab_to("#step .bars button")
    assert page.evaluate("document.activeElement.ariaLabel").startswith("Keep only")
    tab_to(".toolbar button")
    press("Enter")
    page.locator(".flow").nth(1).wait_for()
    done(live)
