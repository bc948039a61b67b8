"""The run against a server that answers and fails as told; `test_kill.py` has a real one."""

import signal
import subprocess
import sys
import time

import orjson
import pytest
from sglang_soft_evals import client, grading, run
from sglang_soft_evals.sample import seed_of

from tests.evals.fake_server import probe, reply, serving, soft, solve
from tests.evals.runs import METHODS, SAMPLING, info, keys, raw, samples, small

TEXTS = ("benchmark", "method", "question", "status", "gold", "grader", "prompt", "reasoning")
NUMBERS = ("sample", "seed", "thinking_tokens", "answer_tokens", "completion_tokens")
FIELDS = dict.fromkeys((*TEXTS, "text"), str) | dict.fromkeys(NUMBERS, int) | {"latency_s": float}
OPTIONAL = dict.fromkeys(("answer", "thinking_method", "thinking_finish_reason", "error"), str)
OPTIONAL |= {"correct": bool, "mean_entropy": float}
OPTIONAL |= {"mean_concept_size": float, "mixed_share": float, "final_entropy": float}


def test_every_sample_is_recorded_once_with_every_field(tmp_path):
    with serving() as server:
        result = run.execute(small(server.base_url), tmp_path)
    assert result == (True, {"ok": 60}, None, {})
    assert len(set(keys(tmp_path))) == len(keys(tmp_path)) == 60
    for record in samples(tmp_path):
        assert record.keys() == (FIELDS | OPTIONAL).keys()
        for name, kind in (FIELDS | OPTIONAL).items():
            absent = name in OPTIONAL and record[name] is None
            assert absent or isinstance(record[name], kind), (name, record[name])
        assert record["correct"] and (record["thinking_tokens"], record["answer_tokens"]) == (3, 2)
        assert (record["mean_entropy"] is None) == (record["method"] == "discrete")
        asked = None if record["method"] == "discrete" else "soft"
        assert record["thinking_method"] == asked
    written = info(tmp_path)
    assert written["complete"] and written["questions"] == 10 and written["samples"] == 2
    assert [s["records"] for s in written["sessions"]] == [60]
    for method, entry in zip(METHODS, written["methods"], strict=True):
        params = method.get("soft_thinking")
        served = None if params is None else "soft"
        assert entry == {"name": method["name"], "params": params, "thinking_method": served}
    expected = {"versions", "hardware", "commit", "started", "command", "model", "prompt_template"}
    assert expected | {"sampling"} <= written["provenance"].keys()


def test_a_run_can_have_another_grader(tmp_path):
    with serving() as server:
        run.execute(small(server.base_url, grader="math"), tmp_path)
    graded = {(record["grader"], record["correct"]) for record in samples(tmp_path)}
    assert graded == {("math", False)}, "the answers are in no box"
    assert info(tmp_path)["provenance"]["grader"] == "math"


def test_methods_get_the_same_requests_in_turn(tmp_path):
    with serving() as server:
        run.execute(small(server.base_url, concurrency=1), tmp_path)
        asked = [request for request in server.asked if not probe(request)]
    for i in range(0, len(asked), 3):
        turn = asked[i : i + 3]
        assert [soft(request) or None for request in turn] == [
            m.get("soft_thinking") for m in METHODS
        ]
        alike = [{k: v for k, v in request.items() if k != "custom_params"} for request in turn]
        assert alike[0] == alike[1] == alike[2]
    assert len({request["seed"] for request in asked}) == 20  # one for each question and sample
    by_question = {(r["question"], r["sample"]): r["seed"] for r in samples(tmp_path)}
    assert all(seed == seed_of(0, *where) for where, seed in by_question.items())


def test_seeds_depend_on_everything_that_names_a_sample():
    seeds = {seed_of(s, q, i) for s in range(10) for q in ("1+1", "1+2") for i in range(10)}
    assert len(seeds) == 200 and all(0 <= seed < 2**31 for seed in seeds)


def test_concurrency_is_bounded_and_used(tmp_path):
    with serving() as server:
        server.delay = 0.01
        run.execute(small(server.base_url, concurrency=5), tmp_path)
        assert server.most_in_flight == 5


def test_truncated_and_failed_requests_are_records(tmp_path):
    def respond(request):
        if probe(request):
            return solve(request)
        if soft(request):
            return 500, {"message": "out of memory"}
        return reply(request, "Answer: 1", finish="length")

    with serving(respond) as server:
        result = run.execute(small(server.base_url), tmp_path)
    assert result.complete and result.statuses == {"failed": 40, "truncated": 20}
    assert result.errors == dict.fromkeys(("soft", "stop"), "HTTP 500: out of memory")
    for record in samples(tmp_path):
        if record["status"] == "failed":
            assert record["correct"] is None and record["error"] == "HTTP 500: out of memory"
        else:
            assert record["correct"] is False and record["answer"] == "1"


def test_failed_samples_are_asked_again_only_if_told(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "BUSY_PAUSES", ())

    def respond(request):
        busy = not probe(request) and soft(request)
        return (503, {"message": "busy"}) if busy else solve(request)

    with serving(respond) as server:
        run.execute(small(server.base_url), tmp_path)
        before = len(server.asked)
        server.respond = solve
        assert run.execute(small(server.base_url), tmp_path).statuses == {"failed": 40, "ok": 20}
        assert len(server.asked) == before + 3  # the trials alone
        again = run.execute(small(server.base_url), tmp_path, retry_failed=True)
        assert again.statuses == {"ok": 60}
    assert len(set(keys(tmp_path))) == len(keys(tmp_path)) == 60


def test_resuming_another_run_is_refused_by_name(tmp_path):
    with serving() as server:
        run.execute(small(server.base_url), tmp_path)
        message = r"another run: samples was 2, is 3; sampling.temperature was 0.6, is 1.0"
        with pytest.raises(ValueError, match=message):
            changed = SAMPLING | {"temperature": 1.0}
            run.execute(small(server.base_url, samples=3, sampling=changed), tmp_path)
    with serving() as elsewhere:  # the address of the server is no part of the run
        assert run.execute(small(elsewhere.base_url), tmp_path).complete


def test_a_server_that_goes_away_stops_the_run_without_failed_records(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "HEALTH_PAUSE", 0.1)

    def respond(request):
        server.dead |= alive_until <= len(server.asked)
        return solve(request)

    alive_until = 30
    with serving(respond) as server:
        result = run.execute(small(server.base_url), tmp_path)
        assert not result.complete and "does not answer" in result.stopped
        assert result.statuses.keys() == {"ok"} and 0 < result.statuses["ok"] < 30
        with pytest.raises(ValueError, match="does not answer"):
            run.execute(small(server.base_url), tmp_path)
        server.dead, alive_until = False, 1000
        assert run.execute(small(server.base_url), tmp_path) == (True, {"ok": 60}, None, {})
    assert len(set(keys(tmp_path))) == len(keys(tmp_path)) == 60


def test_an_unexpected_error_stops_the_run_at_once(tmp_path, monkeypatch):
    broken = []
    grade = grading.GraderProcess.grade

    async def breaks(self, text, gold):
        if len(server.asked) >= 20 and not broken:
            broken.append(text)  # the others get good answers and must stop as well
            raise KeyError("odd")
        return await grade(self, text, gold)

    monkeypatch.setattr(grading.GraderProcess, "grade", breaks)
    with serving() as server:
        with pytest.raises(KeyError, match="odd"):
            run.execute(small(server.base_url, questions=200), tmp_path)
        assert 20 <= len(server.asked) < 100
        assert not info(tmp_path)["complete"]
        assert run.execute(small(server.base_url, questions=200), tmp_path).complete


def test_ctrl_c_leaves_a_valid_partial_result_that_can_be_resumed(tmp_path):
    file, out = tmp_path / "run.yaml", tmp_path / "out"
    command = [sys.executable, "-m", "sglang_soft_evals", "run", str(file)]
    command += ["--out", str(out), "--no-report"]
    lines = out / "samples.jsonl"
    with serving() as server:
        server.delay = 0.05
        file.write_bytes(orjson.dumps(raw(server.base_url, concurrency=2)))
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        while not lines.exists() or len(lines.read_bytes()) < 3000:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 130 and "Traceback" not in errors and "interrupted" in errors
        partial = info(out)
        assert not partial["complete"]
        assert partial["sessions"][-1]["records"] == len(samples(out)) < 60
        server.delay = 0
        assert subprocess.run(command, timeout=60).returncode == 0
    assert len(set(keys(out))) == len(keys(out)) == 60
    assert len(info(out)["sessions"]) == 2
