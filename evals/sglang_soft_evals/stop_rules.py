"""Which stop rule a method has, and which method is the same without it.

A rule is `soft_thinking.stop`, or the older keys of Cold Stop.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from sglang_soft_evals.method import Method

COLD_STOP = {
    "cold_stop_entropy": "entropy",
    "cold_stop_steps": "steps",
    "early_stopping_entropy_threshold": "entropy",
    "early_stopping_length_threshold": "steps",
}
"""Older keys of `soft_thinking`: the parameter of the rule `cold_stop` that each stands for."""
NEED_NO_CONTROL = ("budget",)
"""Rules that are a control themselves."""
_KEYS = ("stop", *COLD_STOP)


def rule_of(params: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The rule as `soft_thinking.stop` has it: `rule` and its parameters; None: there is none, or
    it is a Cold Stop that is off (entropy 0)."""
    params = params or {}
    rule = params.get("stop")
    if rule is None:
        rule = {"rule": "cold_stop"} | {
            name: params[key] for key, name in COLD_STOP.items() if params.get(key) is not None
        }
    if not isinstance(rule, Mapping) or not isinstance(rule.get("rule"), str):
        return None  # the server says what is wrong with it
    if rule["rule"] == "cold_stop" and not rule.get("entropy"):
        return None
    return dict(rule)


def without_rule(params: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """`soft_thinking` without its rule."""
    return None if params is None else {k: v for k, v in params.items() if k not in _KEYS}


def counterpart(method: Method, methods: Iterable[Method]) -> Method | None:
    """The first method that is the same without the rule of `method`."""
    wanted = without_rule(method.soft_thinking)
    for other in methods:
        if rule_of(other.soft_thinking) is None and without_rule(other.soft_thinking) == wanted:
            return other
    return None


def controlled(methods: Iterable[Method]) -> list[tuple[Method, Method | None]]:
    """Methods whose rule needs controls, each with its counterpart, if the run has it."""
    methods = tuple(methods)
    found = []
    for method in methods:
        rule = rule_of(method.soft_thinking)
        if rule is not None and rule["rule"] not in NEED_NO_CONTROL:
            found.append((method, counterpart(method, methods)))
    return found


def label(rule: Mapping[str, Any], among: Iterable[Mapping[str, Any]] = ()) -> str:
    """A short name: that of the rule, with its parameters if another of `among` has the same."""
    if sum(other["rule"] == rule["rule"] for other in among) < 2:
        return str(rule["rule"])
    values = ", ".join(f"{key} {value}" for key, value in rule.items() if key != "rule")
    return f"{rule['rule']} ({values})" if values else str(rule["rule"])
