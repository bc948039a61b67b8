"""The report of made-up runs: its numbers against the records, its words against its numbers, its
page against HTML."""

import re
from collections import Counter
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import orjson
import pytest
from sglang_soft_evals import report
from sglang_soft_evals.report import comparisons, movers, pareto, published, records
from sglang_soft_evals.report.pareto import Point
from sglang_soft_evals.run import execute
from sglang_soft_evals.statistics import Estimate

from tests.evals.fake_server import serving
from tests.evals.runs import small
from tests.evals.synthetic import METHODS, Maker, Synthetic


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """Folder of a complete run, its records, its Markdown and its page."""
    made = Synthetic()
    folder = made.write(tmp_path_factory.mktemp("complete"))
    paths = report.write(folder)
    assert paths == (folder / "report.md", folder / "report.html")
    return folder, made.records(), paths[0].read_text(), paths[1].read_text()


def table(markdown: str, first: str, second: str) -> dict[str, dict[str, str]]:
    """Rows of the Markdown table that begins with these columns: row name -> column -> cell."""
    lines = markdown.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first} | {second}"))
    header = lines[start].strip("| ").split(" | ")
    rows = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells = line.removeprefix("| ").removesuffix(" |").split(" | ")
        rows[cells[0]] = dict(zip(header, cells, strict=True))
    return rows


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
    ended = Counter(r["how_ended"] for r in answered)
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
    row = {
        "method": "a",
        "questions": 30,
        "left_out": 0,
        "difference": 0.1,
        "low": 0.01,
        "high": 0.2,
        "p": 0.03,
    }
    row |= {"exact": True, "needed": 1, "needed_observed": 1, "smallest": 0.1, "tokens": None}
    assert comparisons.Comparison(**row, p_holm=0.03).verdict == "higher"
    assert comparisons.Comparison(**row, p_holm=0.06).verdict == "not distinguishable after Holm"
    assert (
        comparisons.Comparison(**{**row, "low": 0.0}, p_holm=0.01).verdict == "not distinguishable"
    )
    assert (
        comparisons.Comparison(**{**row, "low": float("nan")}, p_holm=0.01).verdict
        == "not distinguishable"
    )


def test_alike_methods_are_not_told_apart(tmp_path):
    """Six names of one method, twenty runs: with Holm at most one run in twenty may see a
    difference."""
    seen = 0
    for seed in range(20):
        made = Synthetic(methods={f"m{i}": Maker() for i in range(6)}, samples=2, seed=seed)
        run = records.load(made.write(tmp_path / str(seed)))
        found = comparisons.compare(run, "aime2024", "m0").values()
        seen += any(c.verdict in ("higher", "lower") for c in found)
    assert seen <= 3


class Page(HTMLParser):
    """Ids, links, unclosed tags and everything that would be fetched."""

    VOID = {"meta", "br", "link", "img"}

    def __init__(self, text: str):
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags[tag] += 1
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values["href"]] if tag == "a" else []
        self.fetched += [
            v for k, v in attrs if k in ("src", "data") or (k == "href" and tag == "link")
        ]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open[-3:])
        self.open.pop()


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
    run = records.load(folder)
    for method in METHODS:
        for move in movers.moves(run, "aime2024", "cot", method).shown:
            assert move.baseline.correct != move.method.correct
            assert (move.change > 0) == move.method.correct
            row = records.read_text(run, move.method)
            assert (row["question"], row["sample"], row["method"]) == (
                move.question,
                move.method.sample,
                method,
            )
            assert row in rows


def test_movers_are_the_questions_that_moved_most(complete):
    folder, rows, _, _ = complete

    def accuracy(method, question):
        return np.mean(
            [bool(r["correct"]) for r in rows if (r["method"], r["question"]) == (method, question)]
        )

    changes = {q: accuracy("gumbel", q) - accuracy("cot", q) for q in {r["question"] for r in rows}}
    found = movers.moves(records.load(folder), "aime2024", "cot", "gumbel")
    assert found.better == sum(c > 0 for c in changes.values())
    assert found.worse == sum(c < 0 for c in changes.values())
    assert found.better + found.worse + found.equal == 30
    assert found.shown[0].change == pytest.approx(max(changes.values()))
    assert found.shown[-1].change == pytest.approx(min(changes.values()))


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


def test_methods_are_compared_on_common_questions_only(tmp_path):
    made = Synthetic(samples=1)
    rows = [
        r for r in made.records() if r["method"] != "soft" or int(r["question"].split("-")[1]) < 20
    ]
    run = records.load(made.write(tmp_path, rows))
    found = comparisons.compare(run, "aime2024", "cot")["soft"]
    assert (found.questions, found.left_out) == (20, 10)
    assert (
        table(report.write(tmp_path)[0].read_text(), "method", "questions compared")["soft"][
            "left out"
        ]
        == "10"
    )


def test_a_torn_last_line_is_told_and_a_repeated_sample_refused(tmp_path):
    made = Synthetic()
    made.write(tmp_path)
    path = tmp_path / "samples.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    assert "cut off while it was written" in report.write(tmp_path)[0].read_text()
    path.write_bytes(whole + whole[: whole.index(b"\n") + 1])
    with pytest.raises(ValueError, match=r"line 1681: .*is there twice"):
        report.write(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": "late"}, r"line 2: status is 'late'"),
        ({"method": "sort"}, r"line 2: method 'sort' is not one of"),
        (None, r"line 2: the keys \['gold'\] are missing"),
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


def test_baseline_is_chosen_or_named(tmp_path):
    run = records.load(Synthetic().write(tmp_path))
    assert comparisons.pick_baseline(run, None) == "cot"
    assert comparisons.pick_baseline(run, "soft") == "soft"
    run.methods = {"soft": {"max_topk": 10}, "hard": None, "greedy": None}
    assert comparisons.pick_baseline(run, None) == "hard"
    with pytest.raises(
        ValueError, match=r"baseline is 'sft', must be one of the run's methods: soft, hard, greedy"
    ):
        comparisons.pick_baseline(run, "sft")


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


def _point(name: str, tokens: float, accuracy: float) -> Point:
    return Point(
        name,
        Estimate(tokens, 1, tokens - 50, tokens + 50),
        Estimate(accuracy, 1, accuracy - 2, accuracy + 2),
    )


def test_pareto_front_is_what_nothing_dominates():
    rng = np.random.default_rng(0)
    points = [
        _point(str(i), float(t), float(a)) for i, (t, a) in enumerate(rng.integers(0, 12, (60, 2)))
    ]

    def dominated(p):
        return any(
            q.tokens.value <= p.tokens.value
            and q.accuracy.value >= p.accuracy.value
            and q[1:] != p[1:]
            for q in points
        )

    assert {p.name for p in pareto.front(points)} == {p.name for p in points if not dominated(p)}


def test_plot_is_xml_the_same_each_time_and_in_the_colour_of_the_page():
    points = [
        _point("cot", 6000, 80),
        _point("soft & <co> $x$", 5000, 79),
        _point("slow", 30000, 10),
        *(_point(f"m{i}", 5500 + 100 * i, 76 + i / 2) for i in range(4)),
    ]
    near = pareto.crowd(points, "cot")
    svg = pareto.plot(points, points, points, "cot", "plot1")
    assert svg == pareto.plot(points, points, points, "cot", "plot1")
    texts = "".join(ElementTree.fromstring(svg.replace("xlink:", "")).itertext())
    assert all(p.name in texts for p in points)
    assert "currentColor" in svg and pareto.INK not in svg
    assert "slow" not in [p.name for p in near] and "cot" in [p.name for p in near]


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


def test_published_numbers_stand_beside_ours(complete):
    _, _, markdown, _ = complete
    rows = markdown[markdown.index("| published by | model") :].split("\n\n")[0]
    assert rows.count("| this run | Qwen/QwQ-32B | aime2024 |") == len(METHODS)
    assert (
        "| Soft Thinking (arXiv 2505.15778) | QwQ-32B | AIME24 | Soft Thinking | 30 x 1 | 83.33 (standard error 6.8)"
        in rows
    )


def test_provenance_is_complete(complete):
    folder, _, markdown, page = complete
    info = orjson.loads((folder / "run.json").read_bytes())
    for text in ("0.5.23", "made up", "0123abc", "32", "5210.4", info["provenance"]["command"]):
        assert text in markdown and text in page
    assert "{problem}\nPut the final answer in \\boxed{}. ```keep```" in markdown
    for maker in METHODS.values():
        assert maker.soft is None or f"| {orjson.dumps(maker.soft).decode()} |" in markdown


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
