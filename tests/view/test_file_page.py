"""The page as a file, in Chromium."""

import io
import json
import re

import numpy as np
import pytest

from launch.bench.view import html as long_html
from sglang_soft.trace import Trace
from sglang_soft.view import data
from sglang_soft.view.page import file_html
from tests.view.browsing import serious, trace_of, visit

pytestmark = pytest.mark.browser

HOSTILE = {
    10: "<script>window.hacked = 1</script>",
    11: "</script><script>window.hacked = 2</script>",
    12: '<img src=x onerror="window.hacked = 3">',
    13: '"><svg onload=alert(1)>',
    14: "<a href=javascript:alert(1)>x</a>",
    15: "a\u202eb\u2066c",
    16: "\x00\x1b[31m\x9b",
    17: "\u200b\ufeff\u00ad\u200f",
    18: "\U000e0041\u2028",
    19: " ",
    20: "\n",
    21: " word ",
    22: "x" * 300,
    23: "",
}
HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\U000e0041]"
)
WORDS = {30 + i: f" word{i}" for i in range(9)} | {
    40: "\n",
    41: " fork",
    42: " other",
    43: "?",
    44: "!",
}
"""Of a harmless thought."""


def write(path, traces: list[Trace], texts: dict[int, str], **about) -> str:
    """Address of a page with these traces."""
    one = [data.of_trace(t, f"thought {i}", **about) for i, t in enumerate(traces)]
    page = data.page(one, data.tokens_of(traces), lambda ids: [texts[i] for i in ids])
    path.write_text(file_html(page), encoding="utf-8")
    return path.as_uri()


def harmless(steps: int = 60, **changes) -> Trace:
    """Each ninth step is a fork in the road, each twentieth ends a line."""
    rows = []
    for i in range(steps):
        row = [(40, 1.0)] if i % 20 == 19 else [(30 + i % 9, 0.97), (43, 0.03)]
        rows.append([(41, 0.6), (42, 0.4)] if i % 9 == 8 else row)
    params = {"cold_stop_entropy": 0.3, "max_topk": 2}
    return trace_of(rows, params=params, **changes)


@pytest.fixture
def page_of_words(tmp_path) -> str:
    return write(tmp_path / "words.html", [harmless()], WORDS, question="What?", answer="That.")


def test_what_a_model_emits_is_shown_as_text_and_runs_nothing(browser, tmp_path):
    rows = [[(token, 0.6), (10 + (token - 9) % len(HOSTILE), 0.4)] for token in HOSTILE]
    whole = "".join(HOSTILE.values())
    about = {"question": whole, "answer": whole, "summary": {"thinking_tokens": whole}}
    url = write(tmp_path / "hostile.html", [trace_of(rows)], HOSTILE, **about)
    with visit(browser, url) as visited:
        page = visited.page
        page.locator(".flow .token").first.wait_for()
        for _ in range(len(rows)):
            page.get_by_role("listbox").press("ArrowRight")
        page.wait_for_timeout(300)
        assert page.evaluate("window.hacked") is None
        assert visited.dialogs == [] and visited.errors == [] and visited.hosts() == set()
        assert page.locator("script").count() == 2 and page.locator("img, svg").count() == 0
        assert page.locator("main a, #step a").count() == 0
        shown = page.locator(".flow").text_content()
        for token in (10, 11, 12, 13, 14):
            assert HOSTILE[token] in shown
        for sign in ("\\u{202E}", "\\u{2066}", "\\u{200B}", "\\u{FEFF}", "\\u{AD}", "\\u{E0041}",
                     "\\u{2028}", "␀", "␛", "\\u{9B}", "⏎", "·word·", "∅"):  # fmt: skip
            assert sign in shown, sign
        everything = page.locator("body").inner_text() + str(
            page.evaluate("[...document.querySelectorAll('[aria-label],[title]')].map(e =>"
                          "(e.ariaLabel || '') + e.title).join(' ')")
        )  # fmt: skip
        assert HIDDEN.findall(everything.replace("\n", "").replace("\t", "")) == []


def test_lone_surrogates_in_a_file_that_is_opened(browser, page_of_words, tmp_path):
    one = data.of_trace(trace_of([[(10, 1.0)]]), "x")
    text = json.dumps({"version": 1, "traces": [one], "texts": {"10": "a\ud800b"}})
    (tmp_path / "page.json").write_text(text)
    with visit(browser, page_of_words) as visited:
        visited.page.set_input_files("#file", tmp_path / "page.json")
        visited.page.locator("#status", has_text="Opened page.json").wait_for()
        assert visited.page.locator(".flow").text_content() == "a\\u{D800}b"


@pytest.mark.parametrize("content", [b"\x89PNG\r\n", b"", b"{"])
def test_a_file_that_is_none_of_ours(browser, page_of_words, tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with visit(browser, page_of_words) as visited:
        visited.page.set_input_files("#file", tmp_path / "a.png")
        visited.page.locator("#status.bad", has_text="a.png is neither a page").wait_for()


def test_it_asks_nobody_and_cannot(browser, page_of_words):
    with visit(browser, page_of_words) as visited:
        visited.page.locator(".flow .token").first.wait_for()
        policy = "new Promise(r => {addEventListener('securitypolicyviolation', e => r(e.violatedDirective));"
        asked = visited.page.evaluate(policy + "fetch('http://127.0.0.1:9/').catch(() => 0)})")
        assert asked == "connect-src"
        assert visited.hosts() <= {"127.0.0.1:9"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_axe_finds_nothing_serious(browser, tmp_path, scheme, width):
    shares = [(1 - i / 27, i / 54) for i in range(1, 19)]
    rows = [[(30 + i % 9, a), (43, b), (44, b)] for i, (a, b) in enumerate(shares)]
    rows[3] = [(41, 0.6), (42, 0.4)]
    both = [trace_of(rows), harmless()]
    for traces in (both, both[1:]):
        url = write(tmp_path / "words.html", traces, WORDS, question="What?", answer="That.")
        with visit(browser, url, scheme, width) as visited:
            page = visited.page
            page.locator(".flow .token").first.wait_for()
            assert page.locator(".flow .b4, .flow .b5").count() > 0 or len(traces) == 1
            assert serious(page) == []
            page.locator("#colour").select_option("entropy")
            assert serious(page) == []
            dark = page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor")
            assert (dark == "rgb(19, 21, 24)") == (scheme == "dark")


def test_by_keyboard_alone(browser, page_of_words):
    with visit(browser, page_of_words) as visited:
        page, press = visited.page, visited.page.keyboard.press
        page.locator(".flow .token").first.wait_for()
        for _ in range(30):
            press("Tab")
            if page.evaluate("document.activeElement.role") == "listbox":
                break
        assert page.evaluate("document.activeElement.role") == "listbox"
        assert visited.step() == "Step 0 of 60"
        moves = {
            "ArrowRight": 1, "End": 59, "ArrowLeft": 58, "Home": 0, "n": 8, "ArrowDown": 19,
            "ArrowUp": 2, "n ": 8, "p": 8,
        }  # fmt: skip
        for key, step in moves.items():
            press(key.strip())
            assert visited.step() == f"Step {step} of 60", key
        press("n")
        assert visited.step() == "Step 17 of 60"
        assert page.locator("#step .bars li").count() == 2
        active = page.evaluate("document.activeElement.getAttribute('aria-activedescendant')")
        chip = page.locator(f"#{active}")
        assert chip.get_attribute("aria-selected") == "true"
        assert "fork" in chip.get_attribute("aria-label")
        press("/")
        page.keyboard.type("word3 word4")
        found = page.locator("#found")
        assert found.inner_text() == "3 of 6" and visited.step() == "Step 21 of 60"
        press("Enter")
        assert found.inner_text() == "4 of 6" and visited.step() == "Step 30 of 60"
        press("Escape")
        assert page.evaluate("document.activeElement.role") == "listbox"
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"  # the focus can be seen


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_no_scrolling_to_the_side(browser, tmp_path, width):
    rows = [[(token, 0.6), (22, 0.4)] for token in HOSTILE if token != 22] + [[(22, 1.0)]]
    about = {"question": "x" * 400, "answer": "y" * 400}
    url = write(tmp_path / "wide.html", [trace_of(rows)] * 2, HOSTILE, **about)
    with visit(browser, url, width=width) as visited:
        visited.page.locator(".flow .token").first.wait_for()
        scrolled = visited.page.evaluate(
            "(scrollTo(500, 0), [scrollX, document.documentElement.scrollWidth])"
        )
        assert scrolled == [0, width]
        box = visited.page.locator("#step").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width


def test_two_thoughts_are_aligned_at_the_first_difference(browser, tmp_path):
    one, other = harmless(), harmless()
    other.output_ids[25] = 43
    url = write(tmp_path / "two.html", [one, other], WORDS)
    with visit(browser, url) as visited:
        page = visited.page
        page.locator(".differs").first.wait_for()
        assert page.locator("#difference").inner_text() == "First difference at step 25"
        rows = page.locator(".row:has(.differs)")
        assert rows.count() == 2
        tops = [rows.nth(i).bounding_box()["y"] for i in range(2)]
        assert tops[0] == tops[1]
        for i in range(2):
            first = rows.nth(i).locator(".token").first
            assert first.get_attribute("data-step") == "25"


def test_forks_depend_on_the_threshold(browser, page_of_words):
    with visit(browser, page_of_words) as visited:
        page = visited.page
        page.locator(".flow .fork").first.wait_for()
        assert page.locator(".flow .fork").count() == 6
        assert page.locator(".flow .fork .other").first.inner_text().strip("·") == "other"
        page.locator("#fork").fill("0.45")
        page.locator(".flow .fork").first.wait_for(state="detached")
        assert page.locator(".flow .token").count() == 60


def test_where_cold_stop_fired(browser, tmp_path):
    rows = [[(30, 0.9), (31, 0.1)] for _ in range(9)] + [[(4, 1.0)]]
    trace = trace_of(rows, thinking_finish_reason="cold_stop",
                     params={"cold_stop_entropy": 0.6, "max_topk": 2},
                     tokenizer={"think_end_id": 4})  # fmt: skip
    url = write(tmp_path / "stopped.html", [trace], WORDS | {4: "</think>"})
    with visit(browser, url) as visited:
        label = visited.page.locator("#chart").get_attribute("aria-label")
        assert "Cold Stop fired at step 9" in label and "10 steps" in label
        assert "Cold Stop ended it" in visited.page.locator("#facts").inner_text()


def test_what_is_saved_is_what_was_shown(browser, page_of_words, tmp_path):
    trace = harmless()
    with visit(browser, page_of_words) as visited:
        npz, as_json = visited.download("#save-npz"), visited.download("#save-json")
        assert Trace.load(io.BytesIO(npz)).to_json() == trace.to_json()
        assert Trace.from_json(json.loads(as_json)).to_json() == trace.to_json()
        html = visited.download("#save-html").decode()
        (tmp_path / "again.html").write_text(html, encoding="utf-8")
        (tmp_path / "trace.npz").write_bytes(npz)
        (tmp_path / "trace.json").write_bytes(as_json)
        shown = visited.page.locator(".flow").text_content()
        for name in ("trace.npz", "trace.json", "again.html"):
            visited.page.set_input_files("#file", tmp_path / name)
            visited.page.locator("#status", has_text=f"Opened {name}").wait_for()
            assert visited.page.locator(".flow").text_content() == shown
        visited.page.set_input_files("#file", page_with_nothing(tmp_path))
        visited.page.locator("#status.bad", has_text="not a page of a thought").wait_for()
        assert visited.page.locator(".flow").text_content() == shown
    with visit(browser, (tmp_path / "again.html").as_uri()) as visited:
        visited.page.locator(".flow .token").first.wait_for()
        assert visited.page.locator(".flow").text_content() == shown
        assert visited.errors == [] and visited.hosts() == set()


def page_with_nothing(folder):
    (folder / "other.html").write_text("<!doctype html><title>x</title>")
    return folder / "other.html"


def test_without_texts_ids_are_shown_and_it_says_so(browser, tmp_path):
    page = data.page([data.of_trace(harmless(), "x")], [], None)
    (tmp_path / "ids.html").write_text(file_html(page))
    with visit(browser, (tmp_path / "ids.html").as_uri()) as visited:
        assert "#12 stands for token 12" in visited.page.locator("#status").inner_text()
        assert visited.page.locator(".flow").text_content().startswith("#30#31")


def test_32000_steps(browser, tmp_path):
    (tmp_path / "long.html").write_text(long_html(32_000), encoding="utf-8")
    with visit(browser, (tmp_path / "long.html").as_uri()) as visited:
        page = visited.page
        page.locator(".flow .token").first.wait_for()
        flow = page.get_by_role("listbox")
        assert "32000 steps" in flow.get_attribute("aria-label")
        assert page.locator(".flow .token").count() < 2000
        flow.press("End")
        assert visited.step() == "Step 31999 of 32000"
        last = page.locator(".flow [data-step='31999']")
        last.wait_for()
        box, frame = last.bounding_box(), flow.bounding_box()
        assert frame["y"] <= box["y"] and box["y"] + box["height"] <= frame["y"] + frame["height"]
        # Rows are as high and tokens as wide as they were computed to be.
        wide = page.evaluate(
            "[...document.querySelectorAll('.flow .line')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
        )
        assert wide == 0
        heights = page.evaluate(
            "[...document.querySelectorAll('.flow .row')].map(e => [e.getBoundingClientRect().top, e.offsetHeight])"
        )
        tops = np.array(sorted(heights))
        assert np.allclose(np.diff(tops[:, 0]), tops[:-1, 1], atol=1)
