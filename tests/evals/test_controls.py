"""Controls of stop rules: made from the records of a run, asked like its methods, and resumed."""

import signal
import subprocess
import sys
import time

import numpy as np
import orjson
import pytest
from sglang_soft_evals import run
from sglang_soft_evals.config import Method
from sglang_soft_evals.stop_rules import rule_of

from tests.evals.fake_server import probe, serving, soft
from tests.evals.runs import info, keys, raw, samples, small
from tests.evals.thinking_server import BOTH, COT, METHODS, RULE, think

NAMES = [f"{name} | {kind}" for name in ("cot + rule", "soft + rule") for kind in BOTH]
SMALL = {"methods": METHODS, "controls": BOTH}


def tokens(folder, method):
    return {
        (r["question"], r["sample"]): r["thinking_tokens"]
        for r in samples(folder)
        if r["method"] == method and r["status"] != "failed"
    }


def entry(folder, name):
    return next(m for m in info(folder)["methods"] if m["name"] == name)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run with controls, and its requests."""
    folder = tmp_path_factory.mktemp("controls")
    with serving(think) as server:
        result = run.execute(small(server.base_url, **SMALL, concurrency=1), folder)
        assert result == (True, {"ok": 8 * 20}, None, {})
        return folder, [request for request in server.asked if not probe(request)]


def test_controls_are_the_method_without_its_rule_and_meet_the_mean(finished):
    folder, _ = finished
    assert info(folder)["complete"]
    for name in ("cot", "soft"):
        rule, plain = tokens(folder, f"{name} + rule"), tokens(folder, name)
        budget, random = (tokens(folder, f"{name} + rule | {kind}") for kind in BOTH)
        assert sum(rule.values()) < sum(plain.values())
        assert sum(budget.values()) == sum(rule.values()), "the mean is met exactly"
        facts = entry(folder, f"{name} + rule | budget")["control"]
        bound = facts["bound"]
        for sample, length in budget.items():
            assert length in {min(plain[sample], b) for b in (bound, bound + 1)}
        assert facts["rule_mean"] == facts["expected_mean"] == np.mean(list(rule.values()))
        assert facts["without_rule_mean"] == np.mean(list(plain.values()))
        facts = entry(folder, f"{name} + rule | random")["control"]
        assert facts["expected_mean"] == np.mean(list(random.values())) < facts["rule_mean"]
        given = {
            (r["question"], r["sample"]): r["max_thinking_tokens"]
            for r in samples(folder)
            if r["method"] == f"{name} + rule | random"
        }
        assert sorted(given.values()) == sorted(rule.values())
        assert all(random[s] == min(plain[s], given[s]) for s in random)


def test_controls_come_last_in_turn_with_the_same_requests(finished):
    folder, asked = finished
    first, last = asked[: 4 * 20], asked[4 * 20 :]
    assert not any("max_thinking_tokens" in soft(request) for request in first)
    for i in range(0, len(last), 4):
        turn = last[i : i + 4]
        alike = [{k: v for k, v in r.items() if k != "custom_params"} for r in turn]
        assert alike[0] == alike[1] == alike[2] == alike[3]
        for request, method in zip(turn, ("cot", "cot", "soft", "soft"), strict=True):
            plain = next(m for m in METHODS if m["name"] == method)["soft_thinking"]
            bound = soft(request)["max_thinking_tokens"]
            assert soft(request) == plain | {"max_thinking_tokens": bound}
    seeds = {(r["question"], r["sample"]): r["seed"] for r in samples(folder)}
    assert all(r["seed"] == seeds[r["question"], r["sample"]] for r in samples(folder))


def test_run_json_says_how_each_was_made(finished):
    folder, _ = finished
    assert [m["name"] for m in info(folder)["methods"]][4:] == NAMES
    made = entry(folder, "soft + rule | random")
    assert made["params"] == METHODS[2]["soft_thinking"] | {"max_thinking_tokens": "of each sample"}
    assert made["thinking_method"] == "soft"
    facts = made["control"]
    assert facts["salt"] == "random of soft + rule, seed 0"
    names = ("kind", "of", "without_rule", "samples", "left_out")
    assert [facts[n] for n in names] == ["random", "soft + rule", "soft", 20, 0]
    plain = {r["method"]: r for r in samples(folder)}
    assert "max_thinking_tokens" not in plain["cot"] and "final_entropy" in plain["cot"]


def test_a_finished_run_gets_controls_and_asks_nothing_again(tmp_path):
    with serving(think) as server:
        run.execute(small(server.base_url, methods=METHODS), tmp_path)
        assert info(tmp_path)["complete"] and "controls" not in info(tmp_path)["config"]
        before = samples(tmp_path)
        result = run.execute(small(server.base_url, methods=METHODS, controls=["random"]), tmp_path)
        assert result.complete and result.statuses == {"ok": 6 * 20}
        assert samples(tmp_path)[: len(before)] == before
        assert run.execute(small(server.base_url, **SMALL), tmp_path).statuses == {"ok": 160}
        assert info(tmp_path)["config"]["controls"] == BOTH
        with pytest.raises(ValueError, match="another run: controls was"):
            run.execute(small(server.base_url, methods=METHODS), tmp_path)


def test_killed_in_the_middle_of_controls_and_resumed(tmp_path):
    file, out = tmp_path / "run.yaml", tmp_path / "out"
    command = [sys.executable, "-m", "sglang_soft_evals", "run", str(file)]
    command += ["--out", str(out), "--no-report"]
    path, seen, moments = out / "samples.jsonl", [], (20, 95, 130)
    with serving(think) as server:
        server.delay = 0.02
        file.write_bytes(orjson.dumps(raw(server.base_url, **SMALL, concurrency=2)))
        for moment in moments:
            process = subprocess.Popen(
                command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            )
            while not path.exists() or path.read_bytes().count(b"\n") < moment:
                assert process.poll() is None, "the run ended before it could be killed"
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
            process.wait()
            whole = [line for line in path.read_bytes().splitlines(True) if line.endswith(b"\n")]
            lines = [orjson.loads(line) for line in whole]
            assert lines[: len(seen)] == seen and len(seen) < len(lines) < 160
            assert not info(out)["complete"]
            seen = lines
        assert len(seen) > 80, "killed among the controls"
        server.delay = 0
        assert subprocess.run(command, timeout=60, capture_output=True).returncode == 0
    assert samples(out)[: len(seen)] == seen
    assert len(keys(out)) == len(set(keys(out))) == 160 and info(out)["complete"]
    for name in ("cot", "soft"):
        rule, budget = (tokens(out, f"{name} + rule{end}") for end in ("", " | budget"))
        assert sum(budget.values()) == sum(rule.values())


def test_failed_samples_have_no_length_and_retried_ones_make_new_controls(tmp_path, capsys):
    broken = []

    def respond(request):
        if not probe(request) and "cold_stop_entropy" in soft(request) and len(broken) < 3:
            broken.append(request)
            return 500, {"message": "out of memory"}
        return think(request)

    with serving(respond) as server:
        config = small(server.base_url, **SMALL, concurrency=1)
        result = run.execute(config, tmp_path)
        assert result.complete and result.statuses == {"ok": 157, "failed": 3}
        facts = entry(tmp_path, "cot + rule | budget")["control"]
        assert facts["left_out"] == 2 and facts["samples"] == 18
        rule, plain = tokens(tmp_path, "cot + rule"), tokens(tmp_path, "cot")
        budget = tokens(tmp_path, "cot + rule | budget")
        assert sum(budget[s] for s in rule) == sum(rule.values())
        assert len(rule) == 18 and len(budget) == 20
        assert facts["without_rule_mean"] == np.mean([plain[s] for s in rule])
        assert run.execute(config, tmp_path, retry_failed=True).complete
    assert "records of controls that were made from other records" in capsys.readouterr().out
    rule, budget = (tokens(tmp_path, f"cot + rule{end}") for end in ("", " | budget"))
    assert len(rule) == len(budget) == 20 and sum(rule.values()) == sum(budget.values())
    assert len(set(keys(tmp_path))) == len(keys(tmp_path)) == 160


def test_a_rule_that_saves_nothing_has_no_controls(tmp_path, capsys):
    def respond(request):
        if not probe(request) and "cold_stop_entropy" in soft(request):
            del request["custom_params"]["soft_thinking"]["cold_stop_entropy"]
        return think(request)

    with serving(respond) as server:
        assert run.execute(small(server.base_url, **SMALL), tmp_path).statuses == {"ok": 80}
    assert info(tmp_path)["complete"]
    told = capsys.readouterr().out
    for name in NAMES:
        why = entry(tmp_path, name)["control"]["not_run"]
        assert why.startswith("the rule saved nothing: ")
        assert f"note: {name} is not run: {why}\n" in told


def test_a_rule_whose_requests_all_failed_has_no_controls(tmp_path):
    def respond(request):
        failing = not probe(request) and "cold_stop_entropy" in soft(request)
        return (500, {"message": "no"}) if failing else think(request)

    with serving(respond) as server:
        result = run.execute(small(server.base_url, **SMALL), tmp_path)
    assert result.complete and result.errors.keys() == {"cot + rule", "soft + rule"}
    assert "no sample has an answer" in entry(tmp_path, NAMES[0])["control"]["not_run"]


def test_one_question_has_a_budget_and_no_random_stop(tmp_path):
    with serving(think) as server:
        run.execute(small(server.base_url, **SMALL, questions=1), tmp_path)
    assert "two questions" in entry(tmp_path, "cot + rule | random")["control"]["not_run"]
    assert "not_run" not in entry(tmp_path, "cot + rule | budget")["control"]


def test_a_bound_of_the_counterpart_stays_the_larger_bound(tmp_path):
    bound = {"max_thinking_tokens": 30}
    methods = [m | {"soft_thinking": m["soft_thinking"] | bound} for m in METHODS[:2]]
    with serving(think) as server:
        run.execute(small(server.base_url, methods=methods, controls=["budget"]), tmp_path)
        given = [soft(r)["max_thinking_tokens"] for r in server.asked if not probe(r)]
    assert max(given) == 30 and min(given) < 30


@pytest.mark.parametrize(
    ("methods", "kinds", "message"),
    [
        (METHODS[:2], ["x"], r"controls must be some of budget, random; got \['x'\]"),
        (METHODS[:2], ["budget", "budget"], "controls must be different"),
        (METHODS[:2], "budget", "controls must be a list of texts; got 'budget'"),
        (METHODS[:1], ["budget"], "no method has a stop rule"),
        (METHODS[1:], ["budget"],
         r"methods.cot \+ rule has the stop rule 'cold_stop'.* without it: add \[\[methods\]\] "
         r'name = "...", soft_thinking = {method = "cot"}'),
        ([*METHODS[:2], {"name": "cot + rule | budget"}], ["budget"],
         r"'cot \+ rule \| budget' is that of a control of methods.cot \+ rule"),
        ([METHODS[0], METHODS[1] | {"answers_per_thought": 2}], ["random"],
         r"cot \+ rule.answers_per_thought must be 1 with controls; got 2"),
    ],
)  # fmt: skip
def test_controls_that_cannot_be_made_are_refused_before_the_run(methods, kinds, message):
    with pytest.raises(ValueError, match=message):
        small(methods=methods, controls=kinds)


@pytest.mark.parametrize(
    ("params", "rule"),
    [
        (None, None),
        (COT, None),
        (COT | RULE, {"rule": "cold_stop", "entropy": 0.2, "steps": 12}),
        ({"early_stopping_entropy_threshold": 0.1}, {"rule": "cold_stop", "entropy": 0.1}),
        ({"cold_stop_entropy": 0.0, "cold_stop_steps": 12}, None),
        ({"cold_stop_steps": 12}, None),
        ({"stop": None}, None),
        ({"stop": {"rule": "cold_stop"}}, None),
        ({"stop": {"rule": "rcpd", "at": "every"}}, {"rule": "rcpd", "at": "every"}),
        ({"stop": "rcpd"}, None),
    ],
)
def test_the_rule_of_a_method(params, rule):
    assert rule_of(Method(name="m", soft_thinking=params).soft_thinking) == rule


def test_the_older_keys_and_the_object_have_the_same_counterpart(tmp_path):
    """And a budget, which is a control itself, has none."""
    methods = [
        METHODS[0],
        {"name": "object", "soft_thinking": COT | {"stop": {"rule": "rcpd"}}},
        {"name": "capped", "soft_thinking": COT | {"stop": {"rule": "budget", "tokens": 9}}},
    ]
    with serving(think) as server:
        run.execute(small(server.base_url, methods=methods, controls=["budget"]), tmp_path)
    assert [m["name"] for m in info(tmp_path)["methods"]][3:] == ["object | budget"]
    assert entry(tmp_path, "object | budget")["control"]["without_rule"] == "cot"
