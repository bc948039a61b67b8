import pytest
from sglang_soft_evals import judge, run

from tests.evals.fake_server import completion, probe, reply, serving, soft, solve
from tests.evals.runs import samples, small


def test_the_judge_is_asked_where_the_grader_says_no_and_nowhere_else(tmp_path):
    judged = []

    def respond(request):
        if request["model"] == "judge":
            judged.append(request["messages"][0]["content"])
            return completion("YES" if "Answer: one" in judged[-1] else "NO.")
        if probe(request) or not soft(request):
            return solve(request)
        return reply(request, "Answer: one" if "max_topk" in soft(request) else "Answer: none")

    with serving(respond) as server:
        settings = {"base_url": f"{server.base_url}/v1", "model": "judge"}
        run.execute(small(server.base_url, judge=settings), tmp_path)
    assert len(judged) == 40
    for record in samples(tmp_path):
        assert record["correct"] == (record["method"] != "stop")
        asked = record["method"] != "discrete"
        assert record["grader"] == ("arith+judge:judge" if asked else "arith")


@pytest.mark.parametrize(("status", "tries"), [(500, 3), (429, 3), (400, 1)])
def test_a_judge_that_does_not_answer_stops_the_run(tmp_path, monkeypatch, status, tries):
    monkeypatch.setattr(judge, "RETRIES", 2)
    monkeypatch.setattr(judge, "PAUSE", 0.01)
    asked = []

    def respond(request):
        if request["model"] == "judge":
            asked.append(request)
            return status, {"message": "no"}
        return solve(request) if probe(request) or not soft(request) else reply(request, "none")

    with serving(respond) as server:
        settings = {"base_url": f"{server.base_url}/v1", "model": "judge"}
        result = run.execute(small(server.base_url, judge=settings, concurrency=2), tmp_path)
    assert not result.complete
    assert result.stopped == f"the judge does not answer (HTTP {status}: no)"
    assert {r["method"] for r in samples(tmp_path)} == {"discrete"}
    assert len(asked) in (tries, 2 * tries)  # each of the two workers asks about one answer


def test_a_judge_that_recovers_is_asked_again(tmp_path, monkeypatch):
    monkeypatch.setattr(judge, "PAUSE", 0.01)
    asked = []

    def respond(request):
        if request["model"] == "judge":
            asked.append(request)
            return completion("YES") if len(asked) > 5 else (503, {"message": "busy"})
        return solve(request) if probe(request) or not soft(request) else reply(request, "none")

    with serving(respond) as server:
        settings = {"base_url": f"{server.base_url}/v1", "model": "judge"}
        assert run.execute(small(server.base_url, judge=settings), tmp_path).complete
    assert len(asked) == 45 and all(record["correct"] for record in samples(tmp_path))


def test_a_key_that_the_environment_lacks_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    settings = {"base_url": "http://127.0.0.1:1/v1", "model": "m", "api_key_env": "JUDGE_KEY"}
    with pytest.raises(ValueError, match="api_key_env: the environment has no variable JUDGE_KEY"):
        run.execute(small(judge=settings), tmp_path)


def test_the_key_of_the_judge_is_sent(tmp_path, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "k")

    def wrong(request):
        return solve(request) if probe(request) else reply(request, "none")

    with serving(wrong) as server, serving(lambda request: completion("yes")) as other:
        other.api_key = "k"
        settings = {"base_url": f"{other.base_url}/v1", "model": "m", "api_key_env": "JUDGE_KEY"}
        assert run.execute(small(server.base_url, judge=settings), tmp_path).complete
        assert len(other.asked) == 60 and all(record["correct"] for record in samples(tmp_path))
