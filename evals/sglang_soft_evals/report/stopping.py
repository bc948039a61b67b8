"""Stop rules: what each saves and costs, against its controls and with each method.

A group is a method without a rule, with its variants that differ in the rule alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from sglang_soft_evals.controls_asked import KINDS, name_of
from sglang_soft_evals.method import Method
from sglang_soft_evals.report.comparisons import answered
from sglang_soft_evals.report.measures import Questions, mean_accuracy, mean_tokens
from sglang_soft_evals.rundir import Run
from sglang_soft_evals.statistics import bootstrap_interval, holm, sign_flip_test
from sglang_soft_evals.stop_rules import counterpart, label, rule_of


class Variant(NamedTuple):
    """A method with a rule."""

    name: str
    rule: str
    """As shown; the same for two methods only if the parameters are the same."""
    controls: dict[str, str | None]
    """Kind -> its name in the run; None: it was not run, or not asked for."""


class Group(NamedTuple):
    plain: str
    """The method without a rule."""
    variants: list[Variant]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Of two methods or of sums of them, paired by question. Points are fractions."""

    value: float
    low: float
    high: float
    p: float = float("nan")
    p_holm: float = float("nan")
    """Adjusted for all differences of the same kind on this benchmark."""


def groups(run: Run) -> list[Group]:
    """In the order of the run file."""
    methods = [Method(name=name, soft_thinking=params) for name, params in run.methods.items()]
    rules = {m.name: rule for m in methods if (rule := rule_of(m.soft_thinking))}
    different: list[dict] = []
    for rule in rules.values():
        if rule not in different:
            different.append(rule)
    found: dict[str, Group] = {}
    for method in methods:
        if method.name in rules and (other := counterpart(method, methods)):
            names = {kind: name_of(method.name, kind) for kind in KINDS}
            made = {k: name if name in run.run_controls else None for k, name in names.items()}
            shown = label(rules[method.name], different)
            group = found.setdefault(other.name, Group(other.name, []))
            group.variants.append(Variant(method.name, shown, made))
    return [found[m.name] for m in methods if m.name in found]


def differences(
    of: Mapping[str, Questions], pairs: Mapping[str, tuple[str, str]]
) -> dict[str, Difference]:
    """Accuracy of the first minus the second of each pair that has scores; Holm over all of them.

    of: the records of each method.
    """
    found = {}
    for key, (first, second) in pairs.items():
        terms = {first: 1, second: -1}
        if (values := _combined(of, terms, mean_accuracy)) is not None:
            found[key] = _difference(values)
    return _adjusted(found)


PARTS = ("mixture alone", "stop alone", "both", "interaction")


def terms_of(cot: str, stopped: str, method: str, both: str) -> dict[str, dict[str, int]]:
    """Part -> sign of each method in it."""
    return {
        PARTS[0]: {method: 1, cot: -1},
        PARTS[1]: {stopped: 1, cot: -1},
        PARTS[2]: {both: 1, cot: -1},
        PARTS[3]: {both: 1, method: -1, stopped: -1, cot: 1},
    }


class Decomposition(NamedTuple):
    """Of one method and one rule, against CoT without it."""

    method: str
    rule: str
    points: dict[str, Difference]
    """Part -> its accuracy. Holm: the interactions, over all methods and rules."""
    tokens: dict[str, Difference]
    """Part -> its tokens, thinking and answer together."""


def decompositions(
    of: Mapping[str, Questions], found: list[Group], cot: str
) -> list[Decomposition]:
    """For each rule that CoT and another method have with the same parameters."""
    reference = next((group for group in found if group.plain == cot), None)
    if reference is None:
        return []
    stopped = {variant.rule: variant.name for variant in reference.variants}
    rows: dict[tuple[str, str], tuple[dict[str, Difference], dict[str, Difference]]] = {}
    for group in found:
        for variant in group.variants:
            if group.plain == cot or variant.rule not in stopped:
                continue
            terms = terms_of(cot, stopped[variant.rule], group.plain, variant.name)
            points = {part: _combined(of, signs, mean_accuracy) for part, signs in terms.items()}
            tokens = {part: _combined(of, signs, mean_tokens) for part, signs in terms.items()}
            if all(v is not None for v in (*points.values(), *tokens.values())):
                rows[group.plain, variant.rule] = (
                    {part: _difference(v) for part, v in points.items() if v is not None},
                    {part: _difference(v) for part, v in tokens.items() if v is not None},
                )
    inner = {key: points[PARTS[3]] for key, (points, _) in rows.items()}
    adjusted = _adjusted(inner)
    return [
        Decomposition(*key, points | {PARTS[3]: adjusted[key]}, tokens)
        for key, (points, tokens) in rows.items()
    ]


def _combined(
    of: Mapping[str, Questions],
    signs: Mapping[str, int],
    mean: Callable[[Questions], dict[str, float]],
) -> np.ndarray | None:
    """[Q] sums over the questions that all of the methods have; None: there are none, or a method
    has no score."""
    if any(name not in of or not answered(of[name]) for name in signs):
        return None
    values = {name: mean(of[name]) for name in signs}
    common = [q for q in next(iter(values.values())) if all(q in v for v in values.values())]
    if not common:
        return None
    return np.array([sum(sign * values[n][q] for n, sign in signs.items()) for q in common])


def _difference(values: np.ndarray) -> Difference:
    low, high = bootstrap_interval(values)
    return Difference(value=float(values.mean()), low=low, high=high, p=sign_flip_test(values).p)


def _adjusted(found: dict) -> dict:
    adjusted = holm([one.p for one in found.values()])
    return {
        key: replace(one, p_holm=float(p))
        for (key, one), p in zip(found.items(), adjusted, strict=True)
    }
