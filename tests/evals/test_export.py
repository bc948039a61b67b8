import orjson
import pytest
from sglang_soft_evals import export, run

from tests.evals.fake_server import completion, serving
from tests.evals.runs import small

ROWS = [{"id": f"HumanEval/{i}", "question": f"def f{i}():", "answer": "-"} for i in range(3)]


@pytest.fixture(params=["humaneval", "livecodebench"])
def code_run(request, tmp_path):
    """A run directory of a code benchmark: 3 questions, 2 samples, 3 methods; `soft` gives no
    code."""
    data = tmp_path / "data.json"
    data.write_bytes(orjson.dumps(ROWS))

    def respond(asked):
        soft = (asked["custom_params"] or {}).get("soft_thinking")
        if asked["max_tokens"] > 4 and soft and "max_topk" in soft:
            return 500, {"message": "no"}
        return completion(
            f"```python\n{asked['messages'][0]['content'].split('def ')[1][:4]} # {asked['seed']}\n```"
        )

    with serving(respond) as server:
        run.execute(
            small(server.base_url, benchmark=request.param, data=str(data), questions=3),
            tmp_path / "out",
        )
    return request.param, tmp_path / "out"


def scores_for(benchmark, rows, right):
    if benchmark == "humaneval":
        results = {}
        for row in rows:
            status = "pass" if right(row) else "fail"
            results.setdefault(row["question"], []).append(
                {"base_status": status, "plus_status": "fail"}
            )
        return {"eval": results}
    graded: dict[str, list[bool]] = {}
    for row in rows:
        graded.setdefault(row["question"], []).append(right(row))
    return [{"question_id": question, "graded_list": marks} for question, marks in graded.items()]


def test_samples_go_out_and_scores_come_back(code_run):
    benchmark, out = code_run
    exported = {e.method: e for e in export.write(out)}
    assert exported.keys() == {"hard", "soft", "stop"}
    raw = exported["hard"].file.read_bytes()
    rows = export._of_method(out, "hard")
    assert all(row["correct"] is None and row["status"] == "ok" for row in rows)
    if benchmark == "humaneval":
        lines = [orjson.loads(line) for line in raw.splitlines()]
        assert lines == [{"task_id": r["question"], "solution": r["answer"]} for r in rows]
        assert (
            exported["hard"].command
            == f"evalplus.evaluate --dataset humaneval --samples {exported['hard'].file}"
        )
    else:
        listed = orjson.loads(raw)
        assert [code for one in listed for code in one["code_list"]] == [r["answer"] for r in rows]
        assert "custom_evaluator" in exported["hard"].command
    file = out / "scores.json"
    file.write_bytes(orjson.dumps(scores_for(benchmark, rows, lambda r: r["sample"] == 1)))
    assert export.read_scores(out, "hard", file) == (3, 6)
    assert all(row["correct"] == (row["sample"] == 1) for row in export._of_method(out, "hard"))
    if benchmark == "humaneval":
        assert export.read_scores(out, "hard", file, tests="plus") == (0, 6)
    # Failed samples stay what they are, and nothing else has changed.
    assert all(
        row["correct"] is None
        for row in export._of_method(out, "soft") + export._of_method(out, "stop")
    )
    assert export._of_method(out, "soft")[0]["status"] == "failed"


def test_scores_that_do_not_fit_change_nothing(code_run):
    benchmark, out = code_run
    before = (out / "samples.jsonl").read_bytes()
    file = out / "scores.json"
    file.write_bytes(
        orjson.dumps(scores_for(benchmark, export._of_method(out, "hard")[:5], lambda r: True))
    )
    with pytest.raises(ValueError, match="has no score of HumanEval/2, sample 1"):
        export.read_scores(out, "hard", file)
    with pytest.raises(ValueError, match="method must be one of hard, soft, stop; got 'x'"):
        export.read_scores(out, "x", file)
    assert (out / "samples.jsonl").read_bytes() == before


def test_there_is_nothing_to_export_of_graded_benchmarks(tmp_path):
    with serving() as server:
        run.execute(small(server.base_url), tmp_path)
    with pytest.raises(ValueError, match="arith was graded by arith"):
        export.write(tmp_path)
