"""The run against a server that answers and misbehaves as told; `test_kill.py` has a real one."""

import signal
import subprocess
import sys
import time

import orjson
import pytest
from sglang_soft_evals import run
from sglang_soft_evals.sample import outcome, seed_of

from tests.evals.fake_server import completion, serving, solve
from tests.evals.runs import METHODS, keys, raw, samples, small

FIELDS = {
    "benchmark": str, "method": str, "question": str, "sample": int, "seed": int, "status": str, "correct": bool,
    "answer": str, "gold": str, "grader": str, "thinking_tokens": int, "answer_tokens": int, "completion_tokens": int,
    "how_ended": str, "mean_entropy": float, "latency_s": float, "prompt": str, "reasoning": str, "text": str,
    "error": str,
}  # fmt: skip
OPTIONAL = {"correct", "answer", "how_ended", "mean_entropy", "error"}


def soft(request):
    return (request.get("custom_params") or {}).get("soft_thinking")


def probe(request):
    """Whether this is the short trial that precedes a run."""
    return request["max_tokens"] == 4


def test_every_sample_is_recorded_once_with_every_field(tmp_path):
    with serving() as server:
        result = run.execute(small(server.base_url), tmp_path)
    assert result == (True, {"ok": 60}, None)
    assert len(set(keys(tmp_path))) == len(keys(tmp_path)) == 60
    for record in samples(tmp_path):
        assert record.keys() == FIELDS.keys()
        for name, kind in FIELDS.items():
            assert isinstance(record[name], kind) or (name in OPTIONAL and record[name] is None), (
                name,
                record[name],
            )
        assert record["correct"] and (record["thinking_tokens"], record["answer_tokens"]) == (3, 2)
        assert (record["mean_entropy"] is None) == (record["method"] == "hard")
    written = orjson.loads((tmp_path / "run.json").read_bytes())
    assert written["complete"] and written["questions"] == 10 and written["samples"] == 2
    assert [s["records"] for s in written["sessions"]] == [60]
    assert written["methods"] == [
        {"name": m["name"], "params": m.get("soft_thinking")} for m in METHODS
    ]
    assert {
        "versions",
        "hardware",
        "commit",
        "started",
        "command",
        "model",
        "prompt_template",
        "sampling",
    } <= written["provenance"].keys()


def test_methods_get_the_same_requests_in_turn(tmp_path):
    with serving() as server:
        run.execute(small(server.base_url, concurrency=1), tmp_path)
        asked = [request for request in server.asked if not probe(request)]
    for i in range(0, len(asked), 3):
        of_question = asked[i : i + 3]
        assert [soft(request) or None for request in of_question] == [
            m.get("soft_thinking") for m in METHODS
        ]
        alike = [
            {k: v for k, v in request.items() if k != "custom_params"} for request in of_question
        ]
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
        if not probe(request) and soft(request):
            return 500, {"message": "out of memory"}
        if not probe(request):
            return completion("Answer: 1", finish="length")
        return solve(request)

    with serving(respond) as server:
        result = run.execute(small(server.base_url), tmp_path)
    assert result.complete and result.statuses == {"failed": 40, "truncated": 20}
    for record in samples(tmp_path):
        if record["status"] == "failed":
            assert record["correct"] is None and record["error"] == "HTTP 500: out of memory"
        else:
            assert record["correct"] is False and record["answer"] == "1"


def test_failed_samples_are_asked_again_only_if_told(tmp_path):
    def respond(request):
        return (
            (503, {"message": "busy"}) if not probe(request) and soft(request) else solve(request)
        )

    with serving(respond) as server:
        run.execute(small(server.base_url), tmp_path)
        before = len(server.asked)
        server.respond = solve
        assert run.execute(small(server.base_url), tmp_path).statuses == {"failed": 40, "ok": 20}
        assert len(server.asked) == before + 3  # the trials alone
        assert run.execute(small(server.base_url), tmp_path, retry_failed=True).statuses == {
            "ok": 60
        }
    assert len(set(keys(tmp_path))) == len(keys(tmp_path)) == 60


def test_refused_methods_are_named_before_anything_runs(tmp_path):
    def respond(request):
        return (400, {"message": f"no {soft(request)}"}) if soft(request) else solve(request)

    with serving(respond) as server:
        with pytest.raises(ValueError) as error:
            run.execute(small(server.base_url), tmp_path)
        assert all(probe(request) for request in server.asked)
    assert "methods.soft: HTTP 400: no {'max_topk': 10}" in str(error.value)
    assert "methods.stop: HTTP 400" in str(error.value)
    assert samples(tmp_path) == [] and not (tmp_path / "run.json").exists()


def test_resuming_another_run_is_refused_by_name(tmp_path):
    with serving() as server:
        run.execute(small(server.base_url), tmp_path)
        with pytest.raises(
            ValueError,
            match=r"another run: samples was 2, is 3; sampling.temperature was 0.6, is 1.0",
        ):
            sampling = raw("")["sampling"] | {"temperature": 1.0}
            run.execute(small(server.base_url, samples=3, sampling=sampling), tmp_path)
    with serving() as elsewhere:  # where the server listens is no part of the run
        assert run.execute(small(elsewhere.base_url), tmp_path).complete


def test_a_server_that_goes_away_stops_the_run_without_failed_records(tmp_path):
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
        assert run.execute(small(server.base_url), tmp_path) == (True, {"ok": 60}, None)
    assert len(set(keys(tmp_path))) == len(keys(tmp_path)) == 60


def test_ctrl_c_leaves_a_valid_partial_result_that_can_be_resumed(tmp_path):
    file, out = tmp_path / "run.json", tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "sglang_soft_evals",
        "run",
        str(file),
        "--out",
        str(out),
        "--no-report",
    ]
    with serving() as server:
        server.delay = 0.05
        file = file.with_suffix(".yaml")
        file.write_bytes(orjson.dumps(raw(server.base_url, concurrency=2)))
        command[4] = str(file)
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        while (
            not (out / "samples.jsonl").exists() or len((out / "samples.jsonl").read_bytes()) < 3000
        ):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 130 and "Traceback" not in errors and "interrupted" in errors
        partial = orjson.loads((out / "run.json").read_bytes())
        assert (
            not partial["complete"] and partial["sessions"][-1]["records"] == len(samples(out)) < 60
        )
        server.delay = 0
        assert subprocess.run(command, timeout=60).returncode == 0
    assert len(set(keys(out))) == len(keys(out)) == 60
    assert len(orjson.loads((out / "run.json").read_bytes())["sessions"]) == 2


def test_the_judge_is_asked_where_the_grader_says_no_and_nowhere_else(tmp_path):
    judged = []

    def respond(request):
        if request["model"] == "judge":
            judged.append(request["messages"][0]["content"])
            return 200, completion("YES" if "Answer: one" in judged[-1] else "NO.")[1] | {
                "id": "1", "created": 0, "model": "judge", "object": "chat.completion"}  # fmt: skip
        if probe(request) or not soft(request):
            return solve(request)
        return completion("Answer: one" if soft(request) == {"max_topk": 10} else "Answer: none")

    with serving(respond) as server:
        judge = {"base_url": f"{server.base_url}/v1", "model": "judge"}
        run.execute(small(server.base_url, judge=judge), tmp_path)
    assert len(judged) == 40
    for record in samples(tmp_path):
        assert record["correct"] == (record["method"] != "stop")
        assert record["grader"] == ("arith" if record["method"] == "hard" else "arith+judge:judge")


def test_a_judge_that_does_not_answer_stops_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr("sglang_soft_evals.judge.RETRIES", 0)

    def respond(request):
        if request["model"] == "judge":
            return 500, {"message": "no"}
        return solve(request) if probe(request) or not soft(request) else completion("Answer: none")

    with serving(respond) as server:
        judge = {"base_url": f"{server.base_url}/v1", "model": "judge"}
        result = run.execute(small(server.base_url, judge=judge), tmp_path)
    assert not result.complete and "the judge does not answer" in result.stopped
    assert {r["method"] for r in samples(tmp_path)} == {"hard"}


def test_the_bars_of_a_terminal_show_accuracy_and_tokens(monkeypatch, capsys):
    from sglang_soft_evals.progress import Progress

    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    done = {"method": "a", "correct": True, "completion_tokens": 10}
    progress = Progress(["a", "b"], 4, [done])
    progress.tick(done | {"correct": False, "completion_tokens": 20})
    progress.tick(done | {"method": "b", "correct": None})
    progress.close()
    shown = capsys.readouterr().err
    assert "2/4" in shown and "accuracy 50.0%, 15 tokens" in shown
    assert "accuracy -, 10 tokens" in shown


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (completion("a b"), ("ok", 3, 2, "think_end")),
        (completion("a b", soft=True), ("ok", 3, 2, "think_end")),
        (completion("", thinking=8, finish="length"), ("truncated", 9, 0, "length")),
        (completion("a b", finish="abort"), ("failed", 0, 0, None)),
    ],
)
def test_tokens_are_counted_alike_with_and_without_soft_thinking(answer, expected):
    record = outcome(answer[1])
    assert (
        record["status"],
        record["thinking_tokens"],
        record["answer_tokens"],
        record["how_ended"],
    ) == expected


def test_thinking_is_split_off_where_the_server_has_no_reasoning_parser():
    record = outcome(completion("so it is 4</think>Answer: 4", reasoning="")[1])
    assert (record["reasoning"], record["text"]) == ("so it is 4", "Answer: 4")
