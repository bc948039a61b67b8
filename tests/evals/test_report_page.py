"""The report as a page: whole, self-contained, escaped, linked; and what it says of its sources."""

import re

import orjson
import pytest
from sglang_soft_evals import report
from sglang_soft_evals.report import published
from sglang_soft_evals.report.per_question_changes import per_question_changes
from sglang_soft_evals.rundir import load, read_line

from tests.evals.reports import Page, table
from tests.evals.synthetic import METHODS, Maker, Synthetic


def test_page_is_whole_and_self_contained(complete):
    _, _, _, text = complete
    page = Page(text)
    assert not page.open and not page.fetched
    assert "url(http" not in text and "@import" not in text
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert page.tags["svg"] == 2  # one plot, one closer


def test_texts_of_a_model_cannot_become_markup(tmp_path):
    attack = "</pre><script>alert(1)</script><img src=x onerror=alert(1)> | `a` [b](c) $x_"
    made = Synthetic(methods={"cot": Maker(), f"soft {attack}": Maker(shift=-4)}, samples=2)
    rows = made.records()
    for row in rows:
        row |= {
            "prompt": attack,
            "reasoning": attack,
            "text": attack,
            "gold": attack,
            "question": row["question"] + attack,
        }
        row["answer"] = attack if row["answer"] else None
    markdown, page = (path.read_text() for path in report.write(made.write(tmp_path, rows)))
    assert Page(page).tags["script"] == 1 and "img" not in Page(page).tags  # our own
    assert not re.search(r"(?<!\\)<(?!/?(?:b|code)>)\w", re.sub(r"(?s)```.*?```", "", markdown))
    assert table(markdown, "method", "accuracy, %")["cot"]  # the pipe did not shift a cell
    assert "[b](c)" not in markdown


def test_markdown_links_lead_to_traces_of_the_page(complete):
    folder, rows, markdown, page = complete
    targets = re.findall(r"\(report\.html#(trace-\d+)\)", markdown)
    assert targets and {*targets} <= {*Page(page).ids}
    run = load(folder)
    for method in METHODS:
        for change in per_question_changes(run, "aime2024", "cot", method).shown:
            assert change.baseline.correct != change.method.correct
            assert (change.difference > 0) == change.method.correct
            row = read_line(folder, change.method)
            place = (change.question, change.method.sample, method)
            assert (row["question"], row["sample"], row["method"]) == place
            assert row in rows


def test_published_numbers_name_their_source_and_n():
    assert {(r.method, r.accuracy, r.n) for r in published.published_for("aime2024")} >= {
        ("CoT", 76.88, "30 x 16"),
        ("CoT, greedy", 80.00, "30 x 1"),
        ("Soft Thinking", 83.33, "30 x 1"),
    }
    single = next(r for r in published.published_for("AIME24") if r.method == "Soft Thinking")
    assert single.se == pytest.approx(6.8, abs=0.05)
    assert {r.method for r in published.published_for("gpqa_diamond")} >= {"CoT", "Soft Thinking"}
    assert not published.published_for("arith") and not published.published_for("aime2025")
    assert all(re.search(r"arXiv \d{4}\.\d{5}", r.source) for r in published.ROWS)


def test_published_numbers_are_next_to_ours(complete):
    _, _, markdown, _ = complete
    rows = markdown[markdown.index("| published by | model") :].split("\n\n")[0]
    assert rows.count("| this run | Qwen/QwQ-32B | aime2024 |") == len(METHODS)
    theirs = "| Soft Thinking (arXiv 2505.15778) | QwQ-32B | AIME24 | Soft Thinking | 30 x 1 | "
    assert f"{theirs}83.33 (standard error 6.8)" in rows


def test_provenance_is_complete(complete):
    folder, _, markdown, page = complete
    info = orjson.loads((folder / "run.json").read_bytes())
    for text in ("0.5.23", "made up", "0123abc", "32", "5210.4", info["provenance"]["command"]):
        assert text in markdown and text in page
    assert "{problem}\nPut the final answer in \\boxed{}. ```keep```" in markdown
    for maker in METHODS.values():
        assert maker.soft is None or f"| {orjson.dumps(maker.soft).decode()} |" in markdown
