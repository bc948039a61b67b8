"""Reports of runs that are partial, torn, foreign, not graded or failed."""

from collections import Counter

import orjson
import pytest
from sglang_soft_evals import report
from sglang_soft_evals.report import comparisons, summary
from sglang_soft_evals.report.document import Paragraph
from sglang_soft_evals.rundir import load

from tests.evals.reports import Page, table
from tests.evals.runs import row
from tests.evals.synthetic import METHODS, Maker, Synthetic


@pytest.mark.parametrize("count", [0, 1, 9, 400, 1001])
def test_partial_runs_say_so_first(tmp_path, count):
    made = Synthetic()
    rows = made.records()[:count]
    markdown, page = (path.read_text() for path in report.write(made.write(tmp_path, rows)))
    have = Counter(r["method"] for r in rows)
    assert f"PARTIAL RUN: {count:,} of the 1,680 answers" in page[: page.index("<table>")]
    progress = table(markdown, "method", "answers | expected")
    assert {m: (int(c["answers"]), c["expected"]) for m, c in progress.items()} == {
        m: (have[m], "240") for m in METHODS
    }
    assert not Page(page).open


def test_a_torn_last_line_is_told_and_a_repeated_sample_refused(tmp_path):
    made = Synthetic()
    made.write(tmp_path)
    path = tmp_path / "samples.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    assert "cut off while it was written" in report.write(tmp_path)[0].read_text()
    path.write_bytes(whole + whole[: whole.index(b"\n") + 1])
    with pytest.raises(ValueError, match=r"line 1681: .*occurs twice"):
        report.write(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": "late"}, r"line 2: status is 'late'"),
        ({"method": "sort"}, r"samples.jsonl: method 'sort' is not one of"),
        (None, r"line 2: .*the keys \['gold'\] are missing"),
    ],
)
def test_foreign_records_are_refused(tmp_path, change, message):
    rows = Synthetic().records()[:3]
    rows[1] = rows[1] | change if change else {k: v for k, v in rows[1].items() if k != "gold"}
    with pytest.raises(ValueError, match=message):
        report.write(Synthetic().write(tmp_path, rows))


def test_answers_that_wait_for_a_grader_have_no_accuracy(tmp_path):
    rows = [r | {"correct": None} for r in Synthetic().records()]
    markdown = report.write(Synthetic().write(tmp_path, rows))[0].read_text()
    assert "not graded yet" in markdown
    assert table(markdown, "method", "accuracy, %")["soft"]["accuracy, %"] == "not graded"
    assert "pass@1, %" not in markdown


def failing(*names: str) -> Synthetic:
    return Synthetic(methods={m: Maker(failed=float(m in names)) for m in ("cot", "soft", "moi")})


def test_a_method_whose_requests_all_failed_is_an_error_and_not_a_score(tmp_path):
    markdown, page = (path.read_text() for path in report.write(failing("soft").write(tmp_path)))
    error = "ERROR: every request of soft on aime2024 failed (HTTP 503: \\<overloaded>)."
    assert error in markdown.split("## aime2024")[0]
    cells = table(markdown, "method", "accuracy, %")["soft"]
    assert cells["accuracy, %"] == "ERROR: all requests failed"
    assert cells["minus cot, points"] == "not compared"
    assert cells["failed"] == "240 (100.0%)" and cells["verdict"] == "-"
    assert "Not distinguishable from cot: moi." in markdown
    assert set(comparisons.compare(load(tmp_path), "aime2024", "cot")) == {"moi"}
    for first in ("pass@1, %", "majority@2, %"):
        assert set(table(markdown, "method", first)) == {"cot", "moi"}
    ours = next(line for line in markdown.splitlines() if "| this run |" in line and "soft" in line)
    assert "ERROR: all requests failed" in ours
    assert not Page(page).open and "nan" not in markdown


def test_a_baseline_whose_requests_all_failed_is_an_error(tmp_path):
    markdown = report.write(failing("cot").write(tmp_path))[0].read_text()
    assert "ERROR: every request of cot on aime2024 failed" in markdown
    assert "There is no comparison: every request of the baseline cot failed." in markdown
    rows = table(markdown, "method", "accuracy, %")
    differences = [cells["minus cot, points"] for cells in rows.values()]
    assert differences == ["baseline", "not compared", "not compared"]


@pytest.mark.parametrize(("share", "warned"), [(0.0, True), (0.004, True), (0.3, False)])
def test_thoughts_that_mixed_nothing_are_told(tmp_path, share, warned):
    """As with lm-eval, whose default is temperature 0."""
    info = {"config": {}, "samples": 1, "questions": 1,
            "methods": [{"name": "soft", "params": {}}, {"name": "cot", "params": {}}]}  # fmt: skip
    rows = [row(method=m, thinking_method=m, mixed_share=share) for m in ("soft", "cot")]
    (tmp_path / "run.json").write_bytes(orjson.dumps(info))
    (tmp_path / "samples.jsonl").write_bytes(b"".join(orjson.dumps(r) + b"\n" for r in rows))
    found = [b.text for b in summary.blocks(load(tmp_path)) if isinstance(b, Paragraph)]
    (told,) = [text for text in found if "nearly discrete" in text] or [""]
    assert told.startswith("soft on b mixed") == warned and "cot" not in told
