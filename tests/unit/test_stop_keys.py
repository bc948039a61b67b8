"""The key `stop` of a request: every bad value, its short forms, and who wins."""

import json

import pytest

from sglang_soft import resolve as resolving
from sglang_soft import stopping
from sglang_soft.params import Sampling, StopParams
from sglang_soft.server import cli, given, settings
from sglang_soft.server.closing import closing_ids
from sglang_soft.stopping import keys
from sglang_soft.trace.cutting import same_segment
from tests.issue_table import row
from tests.unit.soft_request import request_params

OWN = Sampling(temperature=0.6, top_p=0.9, top_k=20, min_p=0.1)
COLD = {"rule": "cold_stop", "entropy": 0.1, "steps": 9}


def resolve(raw, default=None):
    return resolving.resolve(raw, request=OWN, default=default, max_k=32)


def stop_of(raw, default=None) -> dict | None:
    return keys.plain(resolve(raw, default).params.stop)


@pytest.mark.parametrize("name", stopping.names())
def test_a_rule_has_its_defaults_and_survives_the_way_to_the_scheduler(name):
    given = {"rule": name} | ({"tokens": 7} if name == "budget" else {})
    found = resolve({"stop": given}).params.stop
    assert isinstance(found, stopping.get(name).Params)
    for method in ("soft", "swireasoning"):
        request = request_params(method, stop=found)
        assert resolving.decode(request.encode(), 32, 100) == request


def in_stop(**values):
    return {"stop": values}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"stop": 3}, ["stop must be null or an object", "cold_stop, budget, rcpd", "3 (int)"]),
        ({"stop": "rcpd"}, ["stop must be null or an object", "'rcpd' (str)"]),
        ({"stop": {}}, ["stop.rule is missing (one of cold_stop"]),
        (in_stop(rule=["rcpd"]), ["stop.rule must be one of", "['rcpd']"]),
        (in_stop(rule="rcdp"), ["stop.rule must be one of", "'rcdp'"]),
        (in_stop(rule="rcpd", ranks=5), ["unknown key 'ranks' of rule rcpd", "rule, at, rank"]),
        (in_stop(rule="rcpd", rank=0), ["stop.rank", "[1, 2^24]", "0"]),
        (in_stop(rule="rcpd", rank=1.5), ["stop.rank must be an int", "1.5"]),
        (in_stop(rule="rcpd", mid_count=True), ["stop.mid_count must be an int", "True"]),
        (
            in_stop(rule="rcpd", at="word"),
            ["stop.at", "sentence, clause, paragraph, every", "word"],
        ),
        (in_stop(rule="budget"), ["stop.tokens is required by rule budget", ">= 0"]),
        (in_stop(rule="budget", tokens=None), ["stop.tokens is required"]),
        (in_stop(rule="budget", tokens=-1), ["stop.tokens", ">= 0", "-1"]),
        (in_stop(rule="thinkbrake", margin=-1), ["stop.margin", ">= 0", "-1"]),
        (in_stop(rule="thinkbrake", margin=float("nan")), ["stop.margin", "nan"]),
        (in_stop(rule="think_end_boost", boost=11), ["stop.boost", "[0, 10]", "11"]),
        (in_stop(rule="leash", window=17), ["stop.window", "[1, 16]", "17"]),
        (in_stop(rule="leash", votes=0), ["stop.votes", "[1, 16]", "0"]),
        (in_stop(rule="leash", saturation=0), ["stop.saturation", "(0, 1]", "0"]),
        (in_stop(rule="leash", max_tokens=0), ["stop.max_tokens", ">= 1", "0"]),
        (in_stop(rule="leash", min_tokens=2**25), ["stop.min_tokens", "[0, 2^24]"]),
        (in_stop(rule="cold_stop", steps=0), ["stop.steps", ">= 1", "0"]),
        (in_stop(rule="cold_stop", steps=2**31), ["stop.steps", "<= 2147483647", "2147483648"]),
        (in_stop(rule="cold_stop", entropy=float("inf")), ["stop.entropy", "inf"]),
        (
            {"stop": COLD, "cold_stop_steps": 3},
            ["cold_stop_steps", "soft_thinking.stop", "cold_stop here"],
        ),
        (
            {"early_stopping_entropy_threshold": 0.1, "stop": {"rule": "rcpd"}},
            ["early_stopping_entropy_threshold", "soft_thinking.stop", "rcpd here"],
        ),
    ],
)
@row(
    "D26",
    "stop: a bad rule, key or value",
    "no such key",
    "HTTP 400 that names soft_thinking.stop.KEY, the value and the range",
)
def test_errors_name_key_value_and_range(raw, words):
    with pytest.raises(ValueError) as error:
        resolve(raw)
    assert all(word in str(error.value) for word in ["soft_thinking.", *words]), error.value


def test_the_forks_keys_are_short_for_cold_stop():
    fork = {"early_stopping_entropy_threshold": 0.1, "early_stopping_length_threshold": 9}
    short = {"cold_stop_entropy": 0.1, "cold_stop_steps": 9}
    assert resolve(fork) == resolve(short) == resolve({"stop": COLD})
    params = resolve(fork).params
    assert (params.cold_stop_entropy, params.cold_stop_steps) == (0.1, 9)
    assert stop_of({"cold_stop_steps": 9}) == {"rule": "cold_stop", "entropy": 0.0, "steps": 9}
    assert resolve({"stop": None}) == resolve({})
    assert resolve({"stop": {"rule": "rcpd"}}).params.cold_stop_entropy == 0, "it is off"


def test_a_requests_rule_wins_over_the_servers():
    default = settings.from_env({"SGLANG_SOFT_DEFAULT": json.dumps({"stop": COLD})}).default
    json.dumps(default)  # GET /soft_thinking shows it
    assert stop_of({}, default) == COLD
    assert stop_of({"cold_stop_steps": 5}, default) == COLD | {"steps": 5}, "key by key"
    assert stop_of({"stop": {"rule": "cold_stop", "entropy": 0}}, default) == COLD | {"entropy": 0}
    assert stop_of({"stop": {"rule": "budget", "tokens": 5}}, default) == {
        "rule": "budget",
        "tokens": 5,
    }
    other = resolving.check({"stop": {"rule": "rcpd", "rank": 3}}, 32)
    assert stop_of({"cold_stop_entropy": 0.2}, other)["rule"] == "cold_stop"
    assert stop_of({"stop": {"rule": "rcpd", "low_rank": 9}}, other)["rank"] == 3
    assert stop_of({"preset": "qwq-32b", "stop": {"rule": "leash"}})["rule"] == "leash"
    with pytest.raises(ValueError, match=r"--soft-default .*stop\.rule must be one of"):
        settings.from_env({"SGLANG_SOFT_DEFAULT": '{"stop": {"rule": "magic"}}'})


def test_the_smaller_of_two_bounds_counts():
    budget = {"stop": {"rule": "budget", "tokens": 5}}
    assert resolve(budget).params.bound == 5
    assert resolve(budget | {"max_thinking_tokens": 3}).params.bound == 3
    assert resolve(budget | {"max_thinking_tokens": 9}).params.bound == 5
    assert resolve({"stop": {"rule": "leash"}}).params.bound is None
    with pytest.raises(ValueError, match=r"stop\.tokens is out of range \(allowed: >= 7.*got 5"):
        closing_ids(None, resolve(budget).params, tuple(range(8)))


@pytest.mark.parametrize("name", ["rcpd", "thinkbrake"])
def test_without_a_tokenizer_there_are_no_sentences(name):
    rule = stopping.get(name)
    with pytest.raises(
        ValueError, match=r"soft_thinking\.stop\.at=.*skip-tokenizer-init.*at=every"
    ):
        rule.check(rule.Params(), None)
    rule.check(rule.Params(at="every"), None)
    rule.check(rule.Params(), "a tokenizer")


def trace_params(**raw) -> dict:
    from sglang_soft.engine.request import SoftRequest

    params = resolve(raw).params
    return SoftRequest(
        request_params(**{k: getattr(params, k) for k in params.__struct_fields__}), 2
    ).trace.params


def test_the_rule_of_a_trace_comes_back_once():
    for raw in ({"stop": COLD}, {"stop": {"rule": "rcpd", "rank": 3}}, {}):
        params = trace_params(**raw)
        names = {"stop", "cold_stop_entropy", "cold_stop_steps"}
        values = keys.of_trace({k: v for k, v in params.items() if k in names and v is not None})
        assert resolving.check(values, 32) == ({"stop": params["stop"]} if raw else {})


def test_a_trace_from_before_the_key_is_the_same_request():
    new = trace_params(cold_stop_entropy=0.1, cold_stop_steps=9)
    old = {key: value for key, value in new.items() if key != "stop"}
    values = keys.of_trace({"cold_stop_entropy": 0.1, "cold_stop_steps": 9})
    assert stop_of(values) == new["stop"] == COLD
    segment = {"method": "soft", "seed": None}
    assert same_segment(segment | {"params": old}, segment | {"params": new})
    assert same_segment(segment | {"params": old | {"stop": 5}}, segment | {"params": new}) is False


def test_what_state_a_request_goes_on_with():
    from tests.unit.test_cut import open_thought

    first, marks = stopping.get("rcpd").state, (1.0, 2.0, 3.0, 4.0, 5.0)
    params = resolve({"stop": {"rule": "rcpd"}}).params
    trace = open_thought(states=5, params={"stop": keys.plain(params.stop)}).cut(3)
    assert given.carried(trace, params) == tuple(trace.method_state.tolist()) != first
    other = resolve({"stop": {"rule": "rcpd", "rank": 3}}).params
    assert given.carried(trace, other) == first, "its parameters are others"
    assert given.carried(trace, resolve({}).params) == ()
    swi = resolve({"method": "swireasoning", "stop": {"rule": "rcpd"}}).params
    from sglang_soft import methods

    assert given.carried(trace, swi)[5:] == tuple(trace.method_state.tolist())
    assert given.carried(trace, swi)[:5] == methods.get("swireasoning").state
    assert len(marks) == len(first)


def test_tables(capsys):
    rows = resolving.stop_rules_table()
    assert [r["rule"] for r in rows] == list(stopping.names())
    assert all(r["stops"] and r["source"] for r in rows)
    defaults = {p["key"]: p["default"] for r in rows for p in r["parameters"]}
    assert defaults["tokens"] == "required" and defaults["at"] == "paragraph"
    cli.main(["stops"])
    shown = capsys.readouterr().out
    assert all(f"`{name}`" in shown for name in stopping.names())
    schema = json.dumps(resolving.json_schema())
    assert '"rcpd"' in schema and '"entropy_drop"' in schema
    unpublished = {p["key"] for p in rows[-1]["parameters"] if "ours" in p["meaning"]}
    assert unpublished == {"warm_up", "entropy_drop", "saturation"}


def test_registering(monkeypatch):
    stopping.registry()
    monkeypatch.setattr(stopping._rules, "known", dict(stopping.registry()))

    class Own(stopping.StopRule):
        name, source = "own", "here"

    assert issubclass(Own.Params, StopParams) and Own.own_parameters() == []
    stopping.register(Own())
    with pytest.raises(ValueError, match="'own' is registered twice"):
        stopping.register(Own())

    class Large(stopping.StopRule):
        name, source, state = "large", "here", (0.0,) * 49

    with pytest.raises(ValueError, match="48 numbers; it has 49"):
        stopping.register(Large())
