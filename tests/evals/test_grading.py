"""The process that grades the answers of a run: deadline, crashes, and what the run makes of it."""

import asyncio
import time

import pytest
import uvloop
from sglang_soft_evals import grading, report, run
from sglang_soft_evals.grading import Graded, GraderProcess

from tests.evals.fake_server import probe, reply, serving, soft, solve
from tests.evals.runs import samples, small

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


def test_an_answer_that_makes_the_grader_raise_is_wrong():
    """Python refuses to read integers of so many digits."""
    huge, right = grade("arith", "9" * 5000, "Answer: 5")
    assert huge.correct is False and "the grader failed (ValueError: Exceeds" in huge.error
    assert right == Graded(True, "5", None)


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


def test_a_run_goes_on_after_an_answer_without_verdict(tmp_path):
    def respond(request):
        if probe(request) or not soft(request):
            return solve(request)
        return reply(request, "9" * 5000 if "max_topk" in soft(request) else "none")

    with serving(respond) as server:
        began = time.monotonic()
        assert run.execute(small(server.base_url), tmp_path).complete
        assert time.monotonic() - began < grading.DEADLINE
    for record in samples(tmp_path):
        assert record["status"] == "ok" and record["correct"] == (record["method"] == "discrete")
        assert (record["error"] is not None) == (record["method"] == "soft")
    markdown = report.write(tmp_path)[0].read_text()
    assert (
        "20 answers of soft on arith count as wrong because the grader has no verdict" in markdown
    )
