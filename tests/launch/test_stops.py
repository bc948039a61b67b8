"""`make stops`: questions that are kept apart, the choice of parameters, the figures of the page."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from sglang_soft_evals import arith, run, runfile
from sglang_soft_evals.rundir import load
from sglang_soft_evals.stop_rules import controlled, rule_of

from launch import ROOT
from launch.stops import __main__ as main
from launch.stops import choice, page
from sglang_soft import stopping
from tests.evals.fake_server import serving
from tests.evals.runs import small
from tests.evals.thinking_server import BOTH, METHODS, think

RUNS = ROOT / "evals" / "runs"


def test_the_choice_asks_no_question_of_the_run(tmp_path):
    lines = choice.questions(tmp_path / "x" / "q.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    config = runfile.read(RUNS / "stops.toml")
    assert (config.questions, config.seed) == (choice.RUN_QUESTIONS, choice.RUN_SEED)
    asked = {p.expression for p in arith.draw(config.questions, config.seed)}
    assert len({row["id"] for row in rows}) == choice.QUESTIONS
    assert not asked & {row["id"] for row in rows}
    assert all(eval(row["id"]) == int(row["answer"]) for row in rows)  # digits, + and * alone


def setting(rule: str, lost: float, tokens: float, **params) -> choice.Setting:
    return choice.Setting({"rule": rule, **params}, 90 - lost, lost, tokens)


def test_the_choice_is_the_shortest_that_loses_little_else_the_best():
    found = [
        setting("a", 0.0, 50, x=1), setting("a", 1.0, 40, x=2), setting("a", 1.5, 10, x=3),
        setting("b", 9.0, 10, x=1), setting("b", 3.0, 40, x=2),
    ]  # fmt: skip
    assert choice.chosen(found) == {"a": found[1], "b": found[4]}
    assert [row[""] for row in choice.rows(found)] == ["", "chosen", "", "", "chosen"]


def test_settings_are_means_over_the_methods(tmp_path):
    with serving(think) as server:
        run.execute(small(server.base_url, methods=METHODS), tmp_path / "run")
    (found,) = choice.settings(load(tmp_path / "run"))
    assert found.rule == {"rule": "cold_stop", "entropy": 0.2, "steps": 12}
    assert found.lost != 0 and 10 < found.tokens < 40
    assert "chosen" in choice.write(tmp_path / "run", tmp_path)
    values = json.loads((tmp_path / choice.FILE).read_text())
    assert values["chosen"] == {"cold_stop": found.rule}
    with serving(think) as server:
        run.execute(small(server.base_url, methods=METHODS[:3]), tmp_path / "less")
    with pytest.raises(ValueError, match="not there for every method"):
        choice.settings(load(tmp_path / "less"))


def test_the_run_has_the_chosen_parameters_of_every_rule_for_every_method():
    chosen = json.loads((page.IMG / choice.FILE).read_text())["chosen"]
    assert chosen.keys() == stopping.registry().keys()
    config = runfile.read(RUNS / "stops.toml")
    by_plain: dict[str, list] = {}
    for method in config.methods:
        params = dict(method.soft_thinking)
        params.pop("stop", None)
        by_plain.setdefault(json.dumps(params), []).append(rule_of(method.soft_thinking))
    assert len(by_plain) == 5
    assert all(rules == [None, *chosen.values()] for rules in by_plain.values())
    assert len(controlled(config.methods)) == 5 * (len(chosen) - 1), "a budget has no control"
    assert config.controls == ("budget", "random")


def test_figures_hold_what_the_page_shows(tmp_path, monkeypatch):
    with serving(think) as server:
        config = small(server.base_url, methods=METHODS, controls=BOTH, questions=40)
        run.execute(config, tmp_path)
    json_file, accuracy, entropies = page.write(tmp_path, tmp_path)
    assert accuracy.read_bytes()[1:4] == entropies.read_bytes()[1:4] == b"PNG"
    values = json.loads(json_file.read_text())
    assert {"accuracy", "compared", "points", "tokens", "entropy"} == values["tables"].keys()
    assert (
        len(values["spots"]) == 8
        and "4 methods and 4 controls; 640 answers, 0 failed; complete" in (values["run"]["text"])
    )
    tables = docs_tables()
    monkeypatch.setattr(tables, "DOCS", tmp_path)
    (tmp_path / "img").mkdir()
    json_file.rename(tmp_path / "img" / "stops.json")
    assert "| cot | cold_stop |" in tables.measured_stops("stops", "compared")
    assert tables.measured_stops("stops", "run").startswith("fake, `arith`: 40 questions x 2")


def docs_tables():
    spec = importlib.util.spec_from_file_location("docs_tables", ROOT / "docs" / "tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_commands_of_the_target(tmp_path, monkeypatch):
    """What is run, and with which arguments."""
    ran = []

    class Done:
        returncode = 0

    monkeypatch.setattr(main.subprocess, "run", lambda command, **_: ran.append(command) or Done)
    monkeypatch.setattr(main.page, "write", lambda out, img, name: [Path(name)])
    monkeypatch.setattr(main.choice, "write", lambda out, img: "table")
    main.main(["--out", str(tmp_path / "a"), "--img", str(tmp_path), "--questions", "9"])
    main.main(["--choose", "--out", str(tmp_path / "b"), "--img", str(tmp_path)])
    main.main(["--page-only", "--out", str(tmp_path / "b"), "--img", str(tmp_path)])
    first, second = ran
    assert first[:4] == [sys.executable, "-m", "sglang_soft_evals", "run"]
    assert first[4:] == [str(RUNS / "stops.toml"), "--out", str(tmp_path / "a"), "--questions", "9"]
    assert second[4] == str(RUNS / "stops-choice.toml") and second[-1] == "--no-report"
    assert second[second.index("--data") + 1] == str(tmp_path / "b.jsonl")


def test_a_run_that_failed_writes_no_page(tmp_path, monkeypatch):
    class Done:
        returncode = 130

    monkeypatch.setattr(main.subprocess, "run", lambda command, **_: Done)
    monkeypatch.setattr(main.page, "write", lambda *_: pytest.fail("written"))
    with pytest.raises(SystemExit) as end:
        main.main(["--out", str(tmp_path), "--img", str(tmp_path)])
    assert end.value.code == 130
    with pytest.raises(SystemExit, match="run.json"):
        monkeypatch.undo()
        main.main(["--page-only", "--out", str(tmp_path), "--img", str(tmp_path)])
