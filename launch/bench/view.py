"""`make bench-view`: the page of a long thought in Chromium, on this machine.

    python -m launch.bench.view
    python -m launch.bench.view --steps 5000 --runs 3 --keep thought.html

The thought is made up: ten candidates a step, a vocabulary of 50,000 words, a fork in the road at
one step of ten. Each run opens the file in a new page: until the first lines of the thought and the
chart are drawn. Then it scrolls from the first line to the last one in equal parts, a part a frame,
and jumps to the end and back by keyboard. The time between two frames is taken in the page
(requestAnimationFrame); it grows where other programs keep the processor busy. So the browser's own
trace is read as well: the longest task of the page's main thread, in CPU time.
"""

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from launch.bench.hardware import machine
from launch.browser import chromium
from sglang_soft.trace import Steps, Trace
from sglang_soft.view import data
from sglang_soft.view.page import file_html

K, WORDS, FRAMES = 10, 50_000, 300
_FRAMES = """async (count) => {
  const flow = document.querySelector(".flow");
  const times = [];
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  let last = await frame();
  for (let i = 1; i <= count; i++) {
    flow.scrollTop = (flow.scrollHeight - flow.clientHeight) * (i / count);
    const now = await frame();
    times.push(now - last);
    last = now;
  }
  flow.focus();
  for (const key of ["Home", "End", "Home", "PageDown", "n", "n", "End"]) {
    flow.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    for (let i = 0; i < 5; i++) {
      const now = await frame();
      times.push(now - last);
      last = now;
    }
  }
  return { times, end: document.querySelector(".flow .row:last-child") !== null };
}"""


class Opened(NamedTuple):
    """One run."""

    ready: float
    """Seconds from the request for the file until the thought is drawn."""
    frames: list[float]
    """Milliseconds between two frames while it scrolls."""
    task: float
    """CPU milliseconds of the longest task of the main thread meanwhile."""


def thought(steps: int, seed: int = 0) -> Trace:
    """A made-up thought of so many steps."""
    draw = np.random.default_rng(seed)
    # Words as frequent as in a language: the k-th one about 1/k of the time.
    ids = np.minimum(draw.zipf(1.2, (steps, K)), WORDS - K).astype(np.int32)
    ids += np.arange(K, dtype=np.int32)  # those of a step differ, but for a few
    logits = -6.0 * np.arange(K) + draw.normal(0, 0.1, (steps, K))
    logits[draw.random(steps) < 0.1, 1] = -0.5
    weights = np.exp(logits - logits.max(1, keepdims=True))
    weights = -np.sort(-weights / weights.sum(1, keepdims=True)).astype(np.float32)
    entropy = -(weights * np.log(np.maximum(weights, 1e-30))).sum(1).clip(0).astype(np.float32)
    columns = Steps(K)
    columns.extend(ids, weights, entropy, np.zeros((steps, 0), np.uint8))
    return Trace(
        method="soft", steps=columns, start=1, prompt_ids=np.ones(1, np.int32),
        output_ids=ids[:, 0].copy(), thinking_finish_reason="length",
        params={"cold_stop_entropy": 0.05, "max_topk": K},
    )  # fmt: skip


def texts(ids: Sequence[int]) -> list[str]:
    """Made-up words; the most frequent one ends a line."""
    signs = "etaoinshrdlucmfwypvbgkjqxz"
    words = []
    for token in ids:
        word, rest = "", int(token)
        while rest:
            rest, sign = divmod(rest, len(signs))
            word += signs[sign]
        words.append("\n" if token == 7 else f" {word}")
    return words


def html(steps: int) -> str:
    made = thought(steps)
    one = data.of_trace(made, "made up", question=f"{steps} made-up steps", answer="none")
    return file_html(data.page([one], data.tokens_of([made]), texts))


def run(browser: Any, file: Path) -> Opened:
    """Open the file in a new page, and scroll."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    try:
        start = perf_counter()
        page.goto(file.as_uri(), wait_until="commit")
        page.locator(".flow .token").first.wait_for()
        page.locator("#chart canvas").wait_for()
        page.evaluate("() => new Promise((done) => requestAnimationFrame(done))")
        ready = perf_counter() - start
        browser.start_tracing(page=page, categories=["devtools.timeline", "toplevel"])
        found = page.evaluate(_FRAMES, FRAMES)
        task = longest_task(browser.stop_tracing())
        assert found["end"], "it did not scroll to the end"
        return Opened(ready, found["times"], task)
    finally:
        page.close()


def longest_task(traced: bytes) -> float:
    """CPU milliseconds of the longest task of the threads that run pages. traced: of Chromium."""
    events = json.loads(traced)["traceEvents"]
    names = {
        (e["pid"], e["tid"])
        for e in events
        if e["name"] == "thread_name" and e["args"]["name"] == "CrRendererMain"
    }
    tasks = [
        e.get("tdur", 0)
        for e in events
        if e["name"] in ("RunTask", "ThreadControllerImpl::RunTask")
        and (e["pid"], e["tid"]) in names
    ]
    assert tasks, "the trace has no task of the main thread"
    return max(tasks) / 1000


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=32_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--keep", type=Path, metavar="FILE", help="keep the page in this file")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        file = (args.keep or Path(folder) / "thought.html").resolve()
        start = perf_counter()
        file.write_text(html(args.steps), encoding="utf-8")
        wrote = perf_counter() - start
        runs = [run(browser, file) for _ in range(args.runs)]
        ready = sorted(one.ready for one in runs)
        longest = sorted(max(one.frames) for one in runs)
        every = [time for one in runs for time in one.frames]
        print(
            f"{args.steps} steps of {K} candidates: a file of {file.stat().st_size / 1e6:.1f} MB,"
        )
        print(f"written in {wrote:.2f} s. Chromium {browser.version}, {args.runs} runs.")
        print(f"ready        {_spread(ready, 's')}")
        print(f"longest frame {_spread(longest, 'ms')}; median {statistics.median(every):.0f} ms")
        print(f"longest task  {_spread(sorted(one.task for one in runs), 'ms')} of CPU")
        print(f"{machine()}, load {os.getloadavg()[0]:.0f}")


def _spread(values: list[float], unit: str) -> str:
    digits = 2 if unit == "s" else 0
    low, middle, high = values[0], statistics.median(values), values[-1]
    return f"{middle:.{digits}f} {unit} (median; {low:.{digits}f} to {high:.{digits}f})"


if __name__ == "__main__":
    main()
