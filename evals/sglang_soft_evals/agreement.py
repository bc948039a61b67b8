"""Where math-verify and sgl-eval's grader agree on answer variants with a known verdict, and which
errors each of them makes."""

from collections.abc import Callable
from typing import NamedTuple

from sglang_soft_evals import graders
from sglang_soft_evals.variants import Variant, generate


def math_verify(text: str, gold: str) -> bool:
    """math-verify alone, as its own README uses it: parse both, verify."""
    from math_verify import parse, verify

    return bool(verify(parse(f"${gold}$"), parse(text)))


def sgl_eval(text: str, gold: str) -> bool:
    return bool(graders.math(text, gold).correct)


GRADERS: dict[str, Callable[[str, str], bool]] = {"math-verify": math_verify, "sgl-eval": sgl_eval}


class Verdict(NamedTuple):
    variant: Variant
    said: dict[str, bool]
    """What each grader said."""


def judge() -> list[Verdict]:
    """Every variant graded by both. Takes some seconds."""
    verdicts = []
    for v in generate():
        text = f"The answer is $\\boxed{{{v.text}}}$."
        verdicts.append(Verdict(v, {name: g(text, v.gold) for name, g in GRADERS.items()}))
    return verdicts


def summary(verdicts: list[Verdict]) -> list[dict[str, str]]:
    """One row for each class: how many variants, how many each grader got right, and for how many
    they agree."""
    rows = []
    for kind in dict.fromkeys(v.variant.kind for v in verdicts):
        mine = [v for v in verdicts if v.variant.kind == kind]
        equal = sum(v.variant.equal for v in mine)
        row = {"class": kind, "equal": str(equal), "different": str(len(mine) - equal)}
        for name in GRADERS:
            row[f"{name} right"] = str(sum(v.said[name] == v.variant.equal for v in mine))
        row["agree"] = str(sum(len(set(v.said.values())) == 1 for v in mine))
        rows.append(row)
    return rows


def errors(verdicts: list[Verdict]) -> list[str]:
    """Every wrong verdict, by name."""
    return [
        f"{name}: {v.variant.kind}: gold `{v.variant.gold}`, variant `{v.variant.text}` "
        f"{'refused' if v.variant.equal else 'accepted'}"
        for name in GRADERS
        for v in verdicts
        if v.said[name] != v.variant.equal
    ]
