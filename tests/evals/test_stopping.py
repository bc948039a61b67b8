"""The report on stop rules: numbers by hand, what is missing is said, and the pictures."""

import re

import numpy as np
import orjson
import pytest
from sglang_soft_evals import report, run
from sglang_soft_evals.report import entropy, stopping, stopping_plot, stopping_section
from sglang_soft_evals.rundir import Run, load
from sglang_soft_evals.statistics import holm, sign_flip_test

from tests.evals.fake_server import probe, serving, soft
from tests.evals.reports import Page, table
from tests.evals.runs import record, samples, small
from tests.evals.thinking_server import BOTH, COT, METHODS, SOFT, think

OTHER = {"stop": {"rule": "rcpd", "rank": 5}}
RIGHT = {  # of 4 questions with 2 samples each, right answers
    "cot": (2, 1, 0, 2),
    "cot + rule": (2, 0, 0, 1),
    "soft": (2, 2, 1, 2),
    "soft + rule": (2, 2, 0, 1),
}
TOKENS = {"cot": 50, "cot + rule": 30, "soft": 44, "soft + rule": 40}


def made(tmp_path, methods=METHODS) -> Run:
    """A run of these right answers and lengths."""
    info = {"methods": [{"name": m["name"], "params": m.get("soft_thinking")} for m in methods]}
    info |= {"config": {}, "samples": 2, "questions": 4}
    (tmp_path / "run.json").write_bytes(orjson.dumps(info))
    found = load(tmp_path)
    for name, right in RIGHT.items():
        of = found.groups.setdefault(("b", name), {})
        for question, count in enumerate(right):
            of[f"q{question}"] = [
                record(method=name, question=f"q{question}", sample=s, correct=s < count,
                       completion_tokens=TOKENS[name] + question)
                for s in range(2)
            ]  # fmt: skip
    found.benchmarks = ["b"]
    return found


def test_the_decomposition_is_that_by_hand(tmp_path):
    found = stopping_section.Results(made(tmp_path), "b", "cot")
    (one,) = found.parts
    assert (one.method, one.rule) == ("soft", "cold_stop")
    # of 8 answers, right: cot 5, cot + rule 3, soft 7, soft + rule 5
    points = {part: round(8 * d.value, 9) for part, d in one.points.items()}
    assert points == {"mixture alone": 2, "stop alone": -2, "both": 0, "interaction": 0}
    tokens = {part: d.value for part, d in one.tokens.items()}
    assert tokens == {"mixture alone": -6, "stop alone": -20, "both": -10, "interaction": 16}
    inner = np.array([2, 2, 0, 1]) - [2, 2, 1, 2] - [2, 0, 0, 1] + np.array([2, 1, 0, 2])
    assert one.points["interaction"].p == sign_flip_test(inner / 2).p
    assert one.points["both"].low < 0 < one.points["both"].high


def test_rules_with_other_parameters_are_not_compared_across_methods(tmp_path):
    methods = [*METHODS[:3], {"name": "soft + rule", "soft_thinking": SOFT | OTHER}]
    found = stopping_section.Results(made(tmp_path, methods), "b", "cot")
    assert [[v.rule for v in group.variants] for group in found.groups] == [["cold_stop"], ["rcpd"]]
    assert found.parts == []
    twice = [*METHODS[:2], {"name": "soft", "soft_thinking": COT | {"cold_stop_entropy": 0.1}}]
    (group,) = stopping.groups(made(tmp_path, twice))
    assert [v.rule for v in group.variants] == ["cold_stop (entropy 0.2, steps 12)",
                                                "cold_stop (entropy 0.1)"]  # fmt: skip


def test_differences_are_adjusted_for_all_of_their_kind(tmp_path):
    found = stopping_section.Results(made(tmp_path), "b", "cot").differences["no rule"]
    assert {name: round(8 * d.value, 9) for name, d in found.items()} == {
        "cot + rule": -2, "soft + rule": -2,
    }  # fmt: skip
    p = [d.p for d in found.values()]
    assert [d.p_holm for d in found.values()] == holm(p).tolist()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run with controls, with one method whose control fails at times."""
    folder = tmp_path_factory.mktemp("stops")
    failing = []

    def respond(request):
        bounded = not probe(request) and "max_thinking_tokens" in soft(request)
        if bounded and soft(request)["method"] == "soft" and len(failing) < 5:
            failing.append(request)
            return 500, {"message": "out of memory"}
        return think(request)

    with serving(respond) as server:
        config = small(server.base_url, methods=METHODS, controls=BOTH, questions=40)
        run.execute(config, folder)
    return folder, *(path.read_text() for path in report.write(folder))


def section(markdown: str, title: str) -> str:
    return markdown.split(f"## {title}", 1)[1].split("\n## ", 1)[0]


def test_the_table_has_rule_and_controls_in_a_row(finished):
    folder, markdown, _ = finished
    rows = [r for r in samples(folder) if r["status"] != "failed"]

    def of(method: str, name: str) -> float:
        mine = [r for r in rows if r["method"] == method]
        return float(np.mean([r[name] for r in mine]))

    lines = section(markdown, "Stopping: arith")
    cells = [line.strip("| ").split(" | ") for line in lines.splitlines() if "cold_stop" in line]
    for name, row in zip(("cot", "soft"), cells[:2], strict=True):
        rule = f"{name} + rule"
        assert row[:2] == [name, "cold_stop"]
        assert row[2].startswith(f"{100 * of(rule, 'correct'):.1f} [")
        assert row[3:5] == [f"{of(rule, n):.1f}" for n in ("completion_tokens", "thinking_tokens")]
        saved = 100 * (1 - of(rule, "thinking_tokens") / of(name, "thinking_tokens"))
        assert row[5] == f"{saved:.1f}"
        for kind, cell in zip(BOTH, row[6:], strict=True):
            assert cell.endswith(f" ({of(f'{rule} | {kind}', 'thinking_tokens'):.1f})")
    assert cells[0][4] == cells[0][6].split("(")[1].strip(")"), "the budget has the rule's mean"


def test_controls_are_no_methods_of_the_other_tables(finished):
    _, markdown, _ = finished
    assert list(table(markdown, "method", "accuracy, %")) == [m["name"] for m in METHODS]
    assert "Complete: all 640 answers of 4 methods and 4 controls x 40 questions" in markdown


def test_failed_controls_are_shown(finished):
    folder, markdown, _ = finished
    failed = [r["method"] for r in samples(folder) if r["status"] == "failed"]
    assert len(failed) == 5
    for name in set(failed):
        assert f"{failed.count(name)} requests of {name} failed and count as wrong." in markdown


def test_the_page_holds_the_pictures_and_says_how_controls_were_made(finished):
    _, markdown, page = finished
    parsed = Page(page)
    assert not parsed.open and not parsed.fetched and len(set(parsed.ids)) == len(parsed.ids)
    assert {"stopping-1", "entropy-1"} <= set(parsed.ids)
    assert any(name.startswith("stop1-") for name in parsed.ids)
    assert "how the controls were made" in page and "budget of cot + rule, seed 0" in markdown


def test_a_partial_run_says_that_controls_are_missing(finished, tmp_path):
    folder, *_ = finished
    lines = (folder / "samples.jsonl").read_bytes().splitlines(True)
    info = orjson.loads((folder / "run.json").read_bytes()) | {"complete": False}
    (tmp_path / "samples.jsonl").write_bytes(b"".join(lines[:400]))
    (tmp_path / "run.json").write_bytes(orjson.dumps(info))
    markdown = report.write(tmp_path)[0].read_text()
    assert re.search(r"PARTIAL CONTROL: \d+ of 80 answers of cot \+ rule \| budget", markdown)
    info["methods"] = [m for m in info["methods"] if "control" not in m]
    (tmp_path / "samples.jsonl").write_bytes(b"".join(lines[:300]))
    (tmp_path / "run.json").write_bytes(orjson.dumps(info))
    markdown = report.write(tmp_path)[0].read_text()
    assert "The controls are not made yet" in section(markdown, "Stopping: arith")


def test_a_control_that_was_not_run_is_named_with_its_reason(tmp_path):
    def respond(request):
        if not probe(request) and "cold_stop_entropy" in soft(request):
            del request["custom_params"]["soft_thinking"]["cold_stop_entropy"]
        return think(request)

    with serving(respond) as server:
        run.execute(small(server.base_url, methods=METHODS, controls=BOTH), tmp_path)
    lines = section(report.write(tmp_path)[0].read_text(), "Stopping: arith")
    assert "cot + rule | random was not run: the rule saved nothing: " in lines
    assert "| cot | cold_stop |" in lines


def test_spots_and_front():
    spot = stopping_plot.Spot("m", "none", "rule", 50.0, 90.0, 80.0, 95.0)
    rule = spot._replace(rule="rcpd", tokens=30.0, accuracy=85.0)
    found = [spot, rule, rule._replace(kind="budget", accuracy=70.0, low=float("nan"))]
    (axes,) = stopping_plot.panels(found, "#000000").axes
    assert axes.lines[0].get_xydata().tolist() == [[30.0, 85.0], [50.0, 90.0]]
    filled = [line.get_markerfacecolor() != "none" for line in axes.lines[1:4]]
    assert len(axes.containers) == 3 and axes.get_title() == "m" and not all(filled)


def thoughts(count: int, **changes) -> dict:
    """Answers of which those with low entropy are wrong."""
    every = {}
    for i in range(count):
        one = {"question": f"q{i // 4}", "sample": i % 4, "final_entropy": i % 10 / 10}
        one |= {"mean_entropy": 0.5, "correct": i % 10 >= 3} | changes
        every.setdefault(one["question"], []).append(record(**one))
    return every


def test_low_entropy_that_is_wrong_is_found_by_fifths_and_auc():
    final, mean = entropy.look("m", thoughts(200))
    assert (final.thoughts, final.wrong) == (200, 60)
    assert [b.fifth for b in final.bins] == [1, 2, 3, 4, 5]
    assert [round(b.accuracy.value, 2) for b in final.bins] == [0.0, 0.5, 1.0, 1.0, 1.0]
    assert final.auc.value == 0.0 and final.within.value == 0.0
    assert mean.auc.value == 0.5 and [b.fifth for b in mean.bins] == [1], "all are equal"
    row = entropy.table([final, mean]).rows[1]
    assert row["fifth 2"] == "-" and row["AUC"].startswith("0.50 [")
    assert len(entropy.draw(entropy.to_json([final, mean]), "#000000").axes) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"final_entropy": None, "mean_entropy": None},
        {"thinking_finish_reason": "length", "status": "truncated"},
        {"status": "failed", "correct": None},
        {"error": "no verdict"},
    ],
)
def test_thoughts_that_did_not_end_or_have_no_verdict_are_not_counted(changes):
    assert entropy.look("m", thoughts(200, **changes)) == []
    assert entropy.look("m", thoughts(40)) == [], "too few"


def test_runs_without_rules_have_no_such_section(complete):
    """And none without the method that a rule is compared with: the run's `cot` is discrete."""
    assert "## Entropy and errors" not in complete[2], "no record has a final entropy"
    assert "## Stopping" not in complete[2]
