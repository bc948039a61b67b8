"""The report of made-up runs: its numbers against the records, its words against its numbers."""

import re
from collections import Counter

import numpy as np
import pytest
from sglang_soft_evals import report
from sglang_soft_evals.report import comparisons
from sglang_soft_evals.report.per_question_changes import per_question_changes
from sglang_soft_evals.run import execute
from sglang_soft_evals.rundir import load

from tests.evals.fake_server import serving
from tests.evals.reports import Page, table
from tests.evals.runs import small
from tests.evals.synthetic import METHODS, Maker, Synthetic


def test_headline_numbers_are_those_of_the_records(complete):
    _, rows, markdown, _ = complete
    headline = table(markdown, "method", "accuracy, %")
    assert list(headline) == list(METHODS)
    for name, cells in headline.items():
        mine = [r for r in rows if r["method"] == name]
        assert cells["accuracy, %"].startswith(
            f"{100 * np.mean([r['correct'] or 0 for r in mine]):.1f} ["
        )
        failed = sum(r["status"] == "failed" for r in mine)
        assert cells["failed"] == f"{failed} ({100 * failed / len(mine):.1f}%)"
        assert cells["truncated"].startswith(f"{sum(r['status'] == 'truncated' for r in mine)} (")
    assert headline["cot"]["minus cot, points"] == "baseline"


def test_failed_requests_count_as_wrong_and_have_no_tokens(complete):
    _, rows, markdown, _ = complete
    mine = [r for r in rows if r["method"] == "moi"]
    answered = [r for r in mine if r["status"] != "failed"]
    right = [r for r in mine if r["correct"]]
    assert len(answered) < len(mine)
    cells = table(markdown, "method", "answers")["moi"]
    assert cells["thinking, all"] == f"{np.mean([r['thinking_tokens'] for r in answered]):,.0f}"
    assert cells["thinking, correct"] == f"{np.mean([r['thinking_tokens'] for r in right]):,.0f}"
    assert cells["answer, all"] == f"{np.mean([r['answer_tokens'] for r in answered]):,.0f}"
    assert cells["answer, correct"] == f"{np.mean([r['answer_tokens'] for r in right]):,.0f}"
    ended = Counter(r["thinking_finish_reason"] for r in answered)
    assert cells["how thinking ended"] == ", ".join(f"{how} {n}" for how, n in ended.most_common())


def test_words_follow_from_intervals(complete):
    """What was made better is called so, what was made worse too, and the rest is not called
    anything."""
    _, _, markdown, _ = complete
    headline = table(markdown, "method", "accuracy, %")
    for name, cells in headline.items():
        if name == "cot":
            continue
        low, high = map(float, re.search(r"\[(.*), (.*)\]", cells["minus cot, points"]).groups())
        if low <= 0 <= high:
            assert cells["verdict"] == "not distinguishable", name
        assert int(cells["questions needed for 2.5 points"].replace(",", "")) > 30, name
    assert headline["gumbel"]["verdict"] == "higher"
    assert headline["average-embedding"]["verdict"] == "lower"
    assert headline["soft"]["verdict"] == "not distinguishable"
    result = re.search(r"^More accurate than.*$", markdown, re.MULTILINE).group()
    more, rest = result.split("Less accurate than cot: ")
    less, neither = rest.split("Not distinguishable from cot: ")
    assert "gumbel" in more and "average-embedding" in less
    assert neither == "cot+cold-stop, soft, soft+cold-stop, moi."


def test_an_interval_without_zero_is_not_enough_among_many_methods():
    row = {"method": "a", "questions": 30, "left_out": 0, "difference": 0.1, "high": 0.2}
    row |= {"p": 0.03, "exact": True, "needed": 1, "needed_observed": 1, "smallest": 0.1}

    def verdict(low: float, p_holm: float) -> str:
        return comparisons.Comparison(**row, tokens=None, low=low, p_holm=p_holm).verdict

    assert verdict(0.01, 0.03) == "higher"
    assert verdict(0.01, 0.06) == "not distinguishable after Holm"
    assert verdict(0.0, 0.01) == "not distinguishable"
    assert verdict(float("nan"), 0.01) == "not distinguishable"


@pytest.mark.slow
def test_alike_methods_are_not_told_apart(tmp_path):
    """Six names of one method, twenty runs: with Holm at most one run in twenty may see a
    difference."""
    seen = 0
    for seed in range(20):
        made = Synthetic(methods={f"m{i}": Maker() for i in range(6)}, samples=2, seed=seed)
        run = load(made.write(tmp_path / str(seed)))
        found = comparisons.compare(run, "aime2024", "m0").values()
        seen += any(c.verdict in ("higher", "lower") for c in found)
    assert seen <= 3


def test_changes_are_the_questions_that_differ_most(complete):
    folder, rows, _, _ = complete

    def accuracy(method, question):
        return np.mean(
            [bool(r["correct"]) for r in rows if (r["method"], r["question"]) == (method, question)]
        )

    changes = {q: accuracy("gumbel", q) - accuracy("cot", q) for q in {r["question"] for r in rows}}
    found = per_question_changes(load(folder), "aime2024", "cot", "gumbel")
    assert found.better == sum(c > 0 for c in changes.values())
    assert found.worse == sum(c < 0 for c in changes.values())
    assert found.better + found.worse + found.equal == 30
    assert found.shown[0].difference == pytest.approx(max(changes.values()))
    assert found.shown[-1].difference == pytest.approx(min(changes.values()))


def test_methods_are_compared_on_common_questions_only(tmp_path):
    made = Synthetic(samples=1)
    rows = [
        r for r in made.records() if r["method"] != "soft" or int(r["question"].split("-")[1]) < 20
    ]
    run = load(made.write(tmp_path, rows))
    found = comparisons.compare(run, "aime2024", "cot")["soft"]
    assert (found.questions, found.left_out) == (20, 10)
    assert (
        table(report.write(tmp_path)[0].read_text(), "method", "questions compared")["soft"][
            "left out"
        ]
        == "10"
    )


def test_several_benchmarks_in_one_run(tmp_path):
    made = Synthetic(benchmarks={"arith": 40, "gsm8k": 25}, samples=2)
    markdown = report.write(made.write(tmp_path))[0].read_text()
    assert (
        markdown.index("## arith")
        < markdown.index("## gsm8k")
        < markdown.index("## Mean over benchmarks")
    )
    each = [table(part, "method", "accuracy, %")["soft"] for part in markdown.split("## ")[2:4]]
    mean = np.mean([float(cells["accuracy, %"].split()[0]) for cells in each])
    found = table(markdown[markdown.index("## Mean over") :], "method", "accuracy, %")["soft"]
    assert float(found["accuracy, %"].split()[0]) == pytest.approx(mean, abs=0.11)


def test_pass_and_majority_are_refused_when_under_sampled(tmp_path):
    made = Synthetic(samples=4)
    rows = [
        r
        for r in made.records()
        if (r["method"], r["question"], r["sample"]) != ("soft", "aime2024-3", 2)
    ]
    markdown = report.write(made.write(tmp_path, rows))[0].read_text()
    for name, first in (("pass", "pass@1"), ("majority", "majority@2")):
        cells = table(markdown, "method", f"{first}, %")
        assert cells["soft"][f"{name}@4, %"] == "under-sampled"
        assert re.match(r"[\d.]+ \[", cells["soft"][f"{name}@2, %"])
        assert re.match(r"[\d.]+ \[", cells["cot"][f"{name}@4, %"])


def test_baseline_is_chosen_or_named(tmp_path):
    run = load(Synthetic().write(tmp_path))
    assert comparisons.pick_baseline(run, None) == "cot"
    assert comparisons.pick_baseline(run, "soft") == "soft"
    run.methods = {"soft": {"max_topk": 10}, "discrete": None, "greedy": None}
    assert comparisons.pick_baseline(run, None) == "discrete"
    with pytest.raises(
        ValueError,
        match=r"baseline is 'sft', must be one of the run's methods: soft, discrete, greedy",
    ):
        comparisons.pick_baseline(run, "sft")


def test_report_of_what_the_runner_writes(tmp_path):
    """The runner's own files, from a server that gets every answer right: all differences are
    nothing."""
    with serving() as server:
        execute(small(server.base_url), tmp_path)
    markdown, page = (path.read_text() for path in report.write(tmp_path))
    assert "Complete: all 60 answers of 3 methods x 10 questions x 2 samples are here." in markdown
    headline = table(markdown, "method", "accuracy, %")
    assert {cells["accuracy, %"] for cells in headline.values()} == {"100.0 [72.2, 100.0]"}
    assert [cells["verdict"] for cells in headline.values()] == [
        "-",
        "not distinguishable",
        "not distinguishable",
    ]
    # no spread: nothing is claimed of how many questions it would take
    assert {cells["questions needed for 2.5 points"] for cells in headline.values()} == {"-"}
    assert not Page(page).open and "nan" not in markdown
