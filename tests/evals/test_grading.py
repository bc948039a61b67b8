"""The process that grades the answers of a run: deadline, crashes, and what the run makes of it."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest
import uvloop
from sglang_soft_evals import grading, report, run
from sglang_soft_evals.grading import Graded, GraderProcess

from tests.evals.fake_server import reply, serving
from tests.evals.runs import samples, small
from tests.issue_table import case, row

ENDLESS = "\\boxed{9^{9^{9^{9}}}}"
"""sgl-eval's grader works on it until math-verify's own limit, 5 s."""


def grade(grader: str, *texts: str, gold: str = "5") -> list[Graded]:
    async def go() -> list[Graded]:
        process = GraderProcess(grader)
        try:
            return [await process.grade(text, gold) for text in texts]
        finally:
            await process.close()

    return asyncio.run(go())


@pytest.mark.slow
def test_an_answer_that_takes_too_long_is_wrong_and_the_next_one_is_graded(monkeypatch):
    monkeypatch.setattr(grading, "DEADLINE", 0.5)
    endless, right = grade("math", ENDLESS, "\\boxed{5}")
    assert endless == Graded(False, None, "the grader did not end within 0.5 s")
    assert right == Graded(True, "5", None)


@pytest.fixture
def odd(monkeypatch):
    """Grade with a grader that misbehaves as the text says."""
    file = Path(__file__).with_name("odd_graders.py")
    monkeypatch.setattr(grading, "COMMAND", (sys.executable, str(file)))
    monkeypatch.setattr(grading, "DEADLINE", 3.0)
    monkeypatch.setattr(grading, "MEMORY", 1 << 30)
    return lambda *texts: grade("odd", *texts, gold="right")


RIGHT = Graded(True, "right", None)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        case("C20", "a grader that raises", "stops the run", "no verdict", "raises",
             "the grader failed (ArithmeticError: odd)"),
        case("C20", "a grader whose C code holds the GIL (re)", "the event loop stands still",
             "no verdict after the deadline", "gil", "the grader did not end within 3 s"),
        case("C20", "a grader whose C code holds the GIL (ctypes)", "the event loop stands still",
             "no verdict after the deadline", "c", "the grader did not end within 3 s"),
        case("C20", "a grader that ends its process", "ends the run", "no verdict", "exits",
             "the grader's process ended"),
        case("C20", "a grader that eats memory", "takes all of it", "no verdict", "eats",
             "the grader failed (MemoryError: )"),
    ],
)  # fmt: skip
def test_a_grader_that_misbehaves_gives_no_verdict_and_the_next_answer_is_graded(odd, text, error):
    assert odd(text, "right") == [Graded(False, None, error), RIGHT]


@row("C20", "a grader that forks", "processes stay", "they end with the grader")
def test_processes_that_a_grader_started_end_with_it(odd, tmp_path):
    for name, expected in (("quick", None), ("stuck", "the grader did not end within 3 s")):
        pids, began = tmp_path / name, time.monotonic()
        first, second = odd(f"forks {pids}", "right")
        assert time.monotonic() - began < 30, "it waited for what the grader started: 60 s"
        assert (first.error, second) == (expected, RIGHT)
        started = [int(line) for line in pids.read_text().split()]
        assert len(started) == 3
        for _ in range(100):
            alive = [pid for pid in started if _runs(pid)]
            if not alive:
                break
            time.sleep(0.05)
        assert not alive


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] not in "ZX"
    except FileNotFoundError:
        return False


@row("C20", "a grader that forks and returns twice", "-", "one verdict for each answer")
def test_a_forked_grader_does_not_answer_twice(odd):
    assert odd("twins", "right", "wrong") == [
        Graded(False, "twins", None),
        RIGHT,
        Graded(False, "wrong", None),
    ]


@row("C20", "the run is killed while a grader is stuck", "-", "the grader ends too")
def test_a_stuck_grader_ends_with_a_run_that_is_killed(tmp_path):
    code = (
        "import asyncio, sys; from sglang_soft_evals import grading;"
        f"grading.COMMAND = (sys.executable, {str(Path(__file__).with_name('odd_graders.py'))!r});"
        "p = grading.GraderProcess('odd');"
        "loop = asyncio.new_event_loop();"
        "loop.run_until_complete(p.grade('x', 'x'));"
        "print(p._process.pid, flush=True);"
        "loop.run_until_complete(p.grade('c', 'x'))"
    )
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(run.stdout.readline())
    time.sleep(0.5)
    assert _runs(pid)
    run.kill()
    run.wait()
    for _ in range(100):
        if not _runs(pid):
            break
        time.sleep(0.05)
    assert not _runs(pid)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_process_that_dies_is_started_again(new_loop):
    async def go() -> list[Graded]:
        process = GraderProcess("arith")
        first = await process.grade("5", "5")
        process._process.kill()
        await process._process.wait()
        second, third = await process.grade("5", "5"), await process.grade("5", "5")
        await process.close()
        return [first, second, third]

    right = Graded(True, "5", None)
    ended = Graded(False, None, "the grader's process ended")
    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(go()) == [right, ended, right]


@pytest.mark.slow
def test_a_cancelled_answer_does_not_give_its_verdict_to_the_next():
    async def go() -> Graded:
        process = GraderProcess("math")
        await process.grade("", "5")
        endless = asyncio.create_task(process.grade(ENDLESS, "5"))
        await asyncio.sleep(0.3)
        endless.cancel()
        with pytest.raises(asyncio.CancelledError):
            await endless
        graded = await process.grade("\\boxed{6}", "6")
        await process.close()
        return graded

    assert asyncio.run(go()) == Graded(True, "6", None)


def test_texts_of_any_size_and_script_go_through():
    text = "x" * 300_000 + " 𝔸\u2028\x00 answer: 5"
    assert grade("arith", text) == [Graded(True, "5", None)]


def test_a_grader_that_cannot_be_started_stops_the_run(tmp_path):
    with pytest.raises(RuntimeError, match="the grader nonsense cannot be started .*KeyError"):
        grade("nonsense", "5")


@row("C20", "one answer without verdict", "the run stops", "a wrong answer, and a warning")
def test_a_run_goes_on_after_an_answer_without_verdict(tmp_path):
    data = tmp_path / "data.jsonl"
    data.write_bytes(b'{"question": "a", "answer": "1"}\n{"question": "b", "answer": "none"}\n')
    with serving(lambda request: reply(request, "Answer: 1")) as server:
        began = time.monotonic()
        config = small(server.base_url, data=str(data), questions=None)
        assert run.execute(config, tmp_path / "out").complete
        assert time.monotonic() - began < grading.DEADLINE
    for record in samples(tmp_path / "out"):
        assert record["status"] == "ok" and record["correct"] == (record["gold"] == "1")
        assert (record["error"] is not None) == (record["gold"] == "none")
    markdown = report.write(tmp_path / "out")[0].read_text()
    assert "2 answers of soft on arith count as wrong because the grader has no verdict" in markdown


@row("C17", "no answer of a method has a verdict", "the run stops", "an error, status 1")
def test_a_method_without_any_verdict_has_no_score(tmp_path):
    data = tmp_path / "data.jsonl"
    data.write_bytes(b'{"question": "a", "answer": "none"}\n')
    with serving(lambda request: reply(request, "Answer: 1")) as server:
        config = small(server.base_url, data=str(data), questions=None)
        result = run.execute(config, tmp_path / "out")
    assert result.errors.keys() == {"discrete", "soft", "stop"}
    markdown = report.write(tmp_path / "out")[0].read_text()
    assert "ERROR: no answer has a verdict: soft on arith" in markdown
    assert "| soft | ERROR: no verdict |" in markdown
