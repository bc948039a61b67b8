"""Several answers of one thought: what is asked, how tokens are counted, what the report says."""

from itertools import combinations, product
from math import comb

import numpy as np
import pytest
from sglang_soft_evals import report, run
from sglang_soft_evals.record import Key
from sglang_soft_evals.run import tasks
from sglang_soft_evals.statistics import majority_of_forks

from tests.evals.fake_server import completion, probe, serving, soft
from tests.evals.reports import table
from tests.evals.runs import info, samples, small

FORKED = {"name": "forked", "soft_thinking": {"method": "cot"}, "answers_per_thought": 4}
ALONE = {"name": "alone", "soft_thinking": {"method": "cot"}}
THINKING = 30


def respond(request):
    """A thought of 30 tokens and think-end; an answer of two words."""
    asked = soft(request)
    if not asked.get("keep"):
        text = "Answer: 1" if request["seed"] % 2 else "Answer: 2"
        answer = completion(text, method="cot", reasoning="", thinking=THINKING)
        if "trace" in asked:  # new tokens only
            answer[1]["usage"]["completion_tokens"] = 2
        return answer
    answer = completion("", method="cot", thinking=THINKING, finish="length")
    summary = answer[1]["choices"][0]["meta_info"]["soft_thinking"]
    summary["kept"] = {"id": "trace-1", "expires_in": 60, "bytes": 1}
    return answer


def cut(request):
    """A thought that was cut by the length."""
    answer = respond(request)
    answer[1]["choices"][0]["meta_info"]["soft_thinking"]["thinking_finish_reason"] = "length"
    return answer


def execute(server, folder, **changes):
    changes = {"methods": [FORKED, ALONE], "samples": 8, "questions": 3} | changes
    assert run.execute(small(server.base_url, **changes), folder).complete
    return samples(folder)


def test_a_thought_is_asked_for_once_and_its_tokens_count_once(tmp_path):
    with serving(respond) as server:
        rows = execute(server, tmp_path, sampling={"max_tokens": 100})
        asked = [request for request in server.asked if not probe(request)]
        assert server.most_in_flight <= 8, "the bound of the run file"
    forked = [request for request in asked if soft(request).keys() & {"keep", "trace"}]
    thoughts = [r for r in forked if "keep" in soft(r)]
    answers = [r for r in forked if "trace" in soft(r)]
    assert (len(thoughts), len(answers)) == (3 * 2, 3 * 8)
    cot = {"method": "cot"}
    assert all(soft(r) == cot | {"keep": True, "max_answer_tokens": 0} for r in thoughts)
    assert all(soft(r) == cot | {"trace": "trace-1", "at": "answer"} for r in answers)
    assert {r["max_tokens"] for r in answers} == {100 - THINKING - 1}, "of both together"
    assert len({r["seed"] for r in answers}) == len(answers)
    mine = [row for row in rows if row["method"] == "forked"]
    others = {(row["question"], row["sample"]): row for row in rows if row["method"] == "alone"}
    for row in mine:
        pays = row["sample"] % 4 == 0
        assert row["completion_tokens"] == (THINKING + 1 if pays else 0) + 2
        assert row["thinking_tokens"] == (THINKING if pays else 0) and row["answer_tokens"] == 2
        assert row["seed"] == others[row["question"], row["sample"]]["seed"]
        assert row["answer"] == ("1" if row["seed"] % 2 else "2")
    assert [m.get("answers_per_thought", 1) for m in info(tmp_path)["methods"]] == [4, 1]


def test_a_thought_that_was_cut_has_no_answers(tmp_path):
    with serving(cut) as server:
        rows = execute(server, tmp_path, methods=[FORKED])
        assert not any("trace" in soft(request) for request in server.asked)
    assert all(row["status"] == "truncated" and row["answer"] is None for row in rows)
    assert sum(row["completion_tokens"] for row in rows) == 3 * 2 * (THINKING + 1)


def test_a_resumed_run_asks_for_the_answers_that_are_missing():
    config = small(methods=[FORKED, ALONE], samples=8)
    questions = [q for q in _questions(1)]
    done = {Key("arith", "forked", questions[0].id, sample) for sample in (0, 1, 2, 3, 5)}
    left = [task for task in tasks(config, questions, done) if task.method.name == "forked"]
    assert [[answer.sample for answer in task.answers] for task in left] == [[4, 6, 7]]
    assert left[0].sample == 4
    alone = [task for task in tasks(config, questions, done) if task.method.name == "alone"]
    assert [task.answers for task in alone] == [()] * 8


def _questions(count):
    from sglang_soft_evals.hub import Question

    return [Question(str(i), "1+1", "2") for i in range(count)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answers_per_thought": 0}, "forked.answers_per_thought must be an integer >= 1"),
        ({"answers_per_thought": 3}, "must be a divisor of samples = 8; got 3"),
        ({"soft_thinking": None}, "must be 1 without soft_thinking .*cot.*; got 4"),
    ],
)
def test_a_wrong_number_of_answers_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        small(methods=[FORKED | changes], samples=8)


def test_a_server_that_keeps_nothing_is_refused(tmp_path):
    def old(request):
        return completion("Answer: 1", method="cot")

    with serving(old) as server, pytest.raises(ValueError, match="forked: the server keeps no"):
        execute(server, tmp_path)


def exact(votes, thoughts, answers):
    """Every choice, counted one by one."""
    total = count = 0.0
    for some in combinations(votes, thoughts):
        for parts in product(*(list(combinations(row, answers)) for row in some)):
            drawn = [("right" if ok else text) for row in parts for text, ok in row if text]
            most = max(map(drawn.count, drawn), default=0)
            best = {name for name in drawn if drawn.count(name) == most}
            total += ("right" in best) / max(len(best), 1)
            count += 1
    assert count == comb(len(votes), thoughts) * comb(len(votes[0]), answers) ** thoughts
    return total / count


def test_majority_of_forks_is_that_of_all_choices():
    rng = np.random.default_rng(3)
    names = [("4", True), ("5", False), ("6", False), (None, False)]
    questions = [
        [[names[rng.choice(4, p=p)] for _ in range(4)] for p in rng.dirichlet(np.ones(4), 3)]
        for _ in range(20)
    ]
    for thoughts, answers in product((1, 2, 3), (1, 2, 4)):
        wanted = np.array([exact(q, thoughts, answers) for q in questions])
        found = majority_of_forks(questions, thoughts, answers)
        if (thoughts, answers) == (3, 4):
            assert np.allclose(found, wanted), "all of them: nothing is drawn"
        assert abs(found - wanted).max() < 0.2 and abs((found - wanted).mean()) < 0.02
    with pytest.raises(ValueError, match="asked for 4 thoughts with 1 answers"):
        majority_of_forks(questions, 4, 1)


def test_the_report_compares_at_equal_tokens(tmp_path):
    """Each thought says one thing in all of its answers: more answers bring nothing."""

    def stubborn(request):
        asked, number = soft(request), int(request["seed"])
        if asked.get("keep"):
            answer = respond(request)
            summary = answer[1]["choices"][0]["meta_info"]["soft_thinking"]
            summary["kept"]["id"] = f"trace-{number}"
            return answer
        answer = completion("", method="cot", reasoning="", thinking=THINKING)
        right = int(asked["trace"].removeprefix("trace-")) % 3 > 0 if "trace" in asked else True
        gold = eval(request["messages"][0]["content"].removeprefix("What is ").rstrip("?"))
        message = answer[1]["choices"][0]["message"]
        message["content"] = f"Answer: {gold if right else gold + 1}"
        answer[1]["choices"][0]["meta_info"]["soft_thinking"]["answer_tokens"] = 2
        answer[1]["usage"]["completion_tokens"] = 2
        return answer

    with serving(stubborn) as server:
        execute(server, tmp_path, questions=40, samples=16, methods=[FORKED])
    page = report.write(tmp_path)[0].read_text()
    lines = [line for line in page.splitlines() if line.startswith("| forked | ")]
    cells = {c[1]: c[2:] for line in lines if " x " in (c := line.strip("| ").split(" | "))[1]}
    assert list(cells) == [f"{t} x {a}" for t in (1, 2, 4) for a in (1, 2, 4)]
    assert cells["1 x 1"][0] == "33" and cells["1 x 4"][0] == "39" and cells["2 x 2"][0] == "70"
    share = {name: float(row[1].split()[0]) for name, row in cells.items()}
    assert share["1 x 1"] == pytest.approx(share["1 x 4"], abs=4)
    assert share["4 x 1"] == share["4 x 4"] > share["1 x 4"]
    assert cells["1 x 1"][2:] == ["-", "-"] and cells["4 x 4"][2:] == ["-", "-"], "no such tokens"
    assert cells["1 x 4"][2] == "1.2"
    assert "majority@" not in page, "the answers are no independent samples"
    assert table(page, "method", "accuracy, %")["forked"]["tokens"] == f"{2 + 31 / 4:.0f}"
