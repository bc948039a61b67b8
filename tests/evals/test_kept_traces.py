"""`keep_traces`: what a run directory keeps, and the pages that the report links to."""

import re
from pathlib import Path

import numpy as np
import orjson
import pytest
from sglang_soft_evals import report, run, runfile
from sglang_soft_evals.kept import keep, name_of
from sglang_soft_evals.record import Key

from sglang_soft.trace import Steps, Trace
from tests.evals.reports import Page
from tests.evals.runs import METHODS, raw, samples, small
from tests.evals.synthetic import Synthetic

KEY = Key("b", "soft", "q/../1", 0)


def trace(token: int = 4) -> Trace:
    steps = Steps(2)
    steps.append(np.array([token, 5], np.int32), np.array([0.75, 0.25], np.float32), 0.5)
    return Trace(
        method="soft", steps=steps, start=1, prompt_ids=np.array([1], np.int32),
        output_ids=np.array([4, 9], np.int32), params={"max_topk": 2},
    )  # fmt: skip


def completion(found: object) -> dict:
    return {"choices": [{"meta_info": {"soft_thinking": {"trace": found}}}]}


def test_a_trace_becomes_a_file_of_its_own(tmp_path):
    path = keep(tmp_path, KEY, completion(trace().to_json()))
    assert path and Path(path).parent == Path("traces") and ".." not in Path(path).parts
    assert Trace.load(tmp_path / path).output_ids.tolist() == [4, 9]
    assert [f.name for f in (tmp_path / "traces").iterdir()] == [Path(path).name]
    others = [
        KEY._replace(question="q-..-1"),
        KEY._replace(method="soft-q"),
        KEY._replace(sample=1),
    ]
    assert len({name_of(key) for key in [KEY, *others]}) == 4
    assert keep(tmp_path, KEY, {"choices": [{}]}) is None
    with pytest.raises(ValueError, match="output_ids"):
        keep(tmp_path, KEY, completion({"format": 1, "method": "soft"}))


@pytest.mark.parametrize(
    ("value", "kept"), [(0, []), (False, []), (1, [0]), (2, [0, 1]), (True, [0, 1, 2])]
)
def test_which_samples_are_kept(value, kept):
    config = small(keep_traces=value, samples=3)
    assert [s for s in range(3) if config.keeps_trace(s)] == kept
    assert ("keep_traces" in config.to_dict()) == bool(kept), "runs of older versions go on"


@pytest.mark.parametrize("value", [-1, 1.5, "all", [1]])
def test_a_wrong_value_is_named(value):
    with pytest.raises(ValueError, match=re.escape("keep_traces")) as error:
        runfile.from_dict(raw("http://127.0.0.1:1", keep_traces=value))
    assert repr(value) in str(error.value)
    forked = [METHODS[1] | {"answers_per_thought": 2}]
    with pytest.raises(ValueError, match="answers_per_thought must be 1 with keep_traces"):
        small(keep_traces=1, methods=forked)


def write(folder: Path, methods: set[str]) -> Path:
    """A made-up run that kept the traces of some methods."""
    made = Synthetic(samples=2)
    folder.mkdir(exist_ok=True)
    rows = made.records()
    for i, row in enumerate(rows):
        if row["method"] in methods and row["status"] == "ok":
            key = Key(*(row[name] for name in Key._fields))
            row["trace"] = keep(folder, key, completion(trace(4 + i % 3).to_json()))
    return made.write(folder, rows)


def linked(folder: Path) -> list[Path]:
    page = Page((folder / "report.html").read_text())
    assert not page.fetched
    return [folder / link for link in page.links if link.startswith("pages/")]


def methods_of(folder: Path) -> list[str]:
    rows = [orjson.loads(line) for line in (folder / "samples.jsonl").read_bytes().splitlines()]
    return list(dict.fromkeys(row["method"] for row in rows))


def data_of(page: Path) -> dict:
    found = re.search(
        r'<script type="application/json" id="trace">(.*?)</script>', page.read_text(), re.S
    )
    assert found
    return orjson.loads(found[1])


def test_the_report_links_to_pages_of_both_thoughts(tmp_path):
    write(tmp_path / "all", {*Synthetic().methods})
    report.write(tmp_path / "all")
    pages = linked(tmp_path / "all")
    assert pages and all(page.is_file() for page in pages)
    both = [data for page in pages if len((data := data_of(page))["traces"]) == 2]
    assert both, "no question had both traces"
    names = [t["name"] for t in both[0]["traces"]]
    assert names[0] != names[1] and all("right" in n or "wrong" in n for n in names)
    assert sorted("right" in n for n in names) == [False, True]
    assert both[0]["traces"][0]["question"].startswith("Find x")
    assert "(pages/" in (tmp_path / "all" / "report.md").read_text()


def test_where_one_side_has_no_trace_the_page_has_one(tmp_path):
    one = methods_of(write(tmp_path / "probe", set()))[1]
    write(tmp_path / "one", {one})
    report.write(tmp_path / "one")
    pages = linked(tmp_path / "one")
    assert pages and all(len(data_of(page)["traces"]) == 1 for page in pages)


def test_without_traces_there_are_no_pages(tmp_path):
    report.write(write(tmp_path, set()))
    assert not linked(tmp_path) and not (tmp_path / "pages").exists()
    assert "thoughts" not in (tmp_path / "report.md").read_text().split("largest gains")[-1][:500]


def test_a_run_keeps_what_it_was_asked_to_keep(server, tmp_path):
    """The real server; discrete requests have no trace."""
    config = small(server, keep_traces=1, questions=3, samples=2)
    result = run.execute(config, tmp_path)
    assert result.complete and not result.errors
    for row in samples(tmp_path):
        kept = row.get("trace")
        assert bool(kept) == (row["sample"] == 0 and row["method"] != "discrete")
        if kept:
            found = Trace.load(tmp_path / kept)
            assert found.thinking_tokens == row["thinking_tokens"] > 5
    assert len(list((tmp_path / "traces").iterdir())) == 6
    report.write(tmp_path)
