import orjson
import pytest
from sglang_soft_evals import export, run

from tests.evals.fake_server import probe, reply, serving, soft
from tests.evals.runs import samples, small

ROWS = [{"id": f"HumanEval/{i}", "question": f"def f{i}():", "answer": "-"} for i in range(3)]


@pytest.fixture(params=["humaneval", "livecodebench"])
def code_run(request, tmp_path):
    """A run directory of a code benchmark: 3 questions, 2 samples, 3 methods; every request of
    `soft` fails."""
    data = tmp_path / "data.json"
    data.write_bytes(orjson.dumps(ROWS))

    def respond(asked):
        if not probe(asked) and soft(asked) and "max_topk" in soft(asked):
            return 500, {"message": "no"}
        name = asked["messages"][0]["content"].split("def ")[1][:4]
        return reply(asked, f"```python\n{name} # {asked['seed']}\n```")

    with serving(respond) as server:
        changes = {"benchmark": request.param, "data": str(data), "questions": 3}
        run.execute(small(server.base_url, **changes), tmp_path / "out")
    return request.param, tmp_path / "out"


def of(folder, method):
    """Its samples by question, as they are exported."""
    mine = [row for row in samples(folder) if row["method"] == method]
    return sorted(mine, key=lambda row: (row["question"], row["sample"]))


def scores_for(benchmark, rows, right):
    if benchmark == "humaneval":
        results = {}
        for row in rows:
            status = {"base_status": "pass" if right(row) else "fail", "plus_status": "fail"}
            results.setdefault(row["question"], []).append(status)
        return {"eval": results}
    graded: dict[str, list[bool]] = {}
    for row in rows:
        graded.setdefault(row["question"], []).append(right(row))
    return [{"question_id": question, "graded_list": marks} for question, marks in graded.items()]


def test_samples_go_out_and_scores_come_back(code_run):
    benchmark, out = code_run
    exported = {e.method: e for e in export.write(out)}
    assert exported.keys() == {"discrete", "soft", "stop"}
    raw, command = exported["discrete"].file.read_bytes(), exported["discrete"].command
    rows = of(out, "discrete")
    assert all(row["correct"] is None and row["status"] == "ok" for row in rows)
    if benchmark == "humaneval":
        lines = sorted(map(orjson.loads, raw.splitlines()), key=lambda line: line["task_id"])
        assert lines == [{"task_id": r["question"], "solution": r["answer"]} for r in rows]
        file = exported["discrete"].file
        assert command == f"evalplus.evaluate --dataset humaneval --samples {file}"
    else:
        listed = sorted(orjson.loads(raw), key=lambda one: one["question_id"])
        assert [code for one in listed for code in one["code_list"]] == [r["answer"] for r in rows]
        assert "custom_evaluator" in command
    before = samples(out)
    file = out / "scores.json"
    file.write_bytes(orjson.dumps(scores_for(benchmark, rows, lambda r: r["sample"] == 1)))
    assert export.read_scores(out, "discrete", file) == (3, 6)
    assert all(row["correct"] == (row["sample"] == 1) for row in of(out, "discrete"))
    if benchmark == "humaneval":
        assert export.read_scores(out, "discrete", file, tests="plus") == (0, 6)
    # Failed samples stay what they are, and nothing else has changed.
    assert [row | {"correct": None} for row in samples(out)] == before
    assert all(row["correct"] is None for row in of(out, "soft") + of(out, "stop"))
    assert {row["status"] for row in of(out, "soft")} == {"failed"}


def test_scores_that_do_not_fit_change_nothing(code_run):
    benchmark, out = code_run
    before = (out / "samples.jsonl").read_bytes()
    file, rows = out / "scores.json", of(out, "discrete")
    file.write_bytes(orjson.dumps(scores_for(benchmark, rows[:5], lambda r: True)))
    with pytest.raises(ValueError, match="has no score of HumanEval/2, sample 1"):
        export.read_scores(out, "discrete", file)
    with pytest.raises(ValueError, match="method must be one of discrete, soft, stop; got 'x'"):
        export.read_scores(out, "x", file)
    assert (out / "samples.jsonl").read_bytes() == before


def test_there_is_nothing_to_export_of_graded_benchmarks(tmp_path):
    with serving() as server:
        run.execute(small(server.base_url), tmp_path)
    with pytest.raises(ValueError, match="arith was graded by arith"):
        export.write(tmp_path)


def test_methods_that_would_share_a_file_are_refused(tmp_path):
    data = tmp_path / "data.json"
    data.write_bytes(orjson.dumps(ROWS))
    methods = [{"name": "CoT"}, {"name": "cot!"}]
    with serving(lambda asked: reply(asked, "no code")) as server:
        changes = {"benchmark": "humaneval", "data": str(data), "methods": methods}
        run.execute(small(server.base_url, **changes), tmp_path / "out")
    with pytest.raises(ValueError, match="two methods would be written to .*cot.jsonl"):
        export.write(tmp_path / "out")
