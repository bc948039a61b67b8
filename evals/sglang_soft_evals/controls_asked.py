"""Which controls a run file asks for (`controls`), and whether they can be made."""

from collections.abc import Sequence

import orjson

from sglang_soft_evals.method import Method
from sglang_soft_evals.rules import check
from sglang_soft_evals.stop_rules import controlled, rule_of, without_rule

KINDS = ("budget", "random")


def name_of(method: str, kind: str) -> str:
    return f"{method} | {kind}"


def check_asked(kinds: Sequence[str], methods: Sequence[Method]) -> None:
    """Raises ValueError if the controls that a run file asks for cannot be made."""
    for kind in kinds:
        check(kind in KINDS, "controls", f"some of {', '.join(KINDS)}", list(kinds))
    check(len(set(kinds)) == len(kinds), "controls", "different", list(kinds))
    if not kinds:
        return
    names, pairs = {method.name for method in methods}, controlled(methods)
    if not pairs:
        raise ValueError("controls are asked for, and no method has a stop rule that needs any.")
    for method, other in pairs:
        rule = (rule_of(method.soft_thinking) or {})["rule"]
        if other is None:
            raise ValueError(
                f"methods.{method.name} has the stop rule {rule!r}, and its controls need the same "
                f"method without it: {_entry(method)}."
            )
        for one in (method, other):
            forks = one.answers_per_thought
            check(forks == 1, f"methods.{one.name}.answers_per_thought", "1 with controls", forks)
        for kind in kinds:
            taken = name_of(method.name, kind)
            if taken in names:
                raise ValueError(
                    f"methods.name {taken!r} is that of a control of methods.{method.name}; give "
                    "one of the two another name."
                )


def _entry(method: Method) -> str:
    values = without_rule(method.soft_thinking) or {}
    inside = ", ".join(f"{key} = {orjson.dumps(value).decode()}" for key, value in values.items())
    return f'add [[methods]] name = "...", soft_thinking = {{{inside}}}'
