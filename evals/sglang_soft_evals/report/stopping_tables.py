"""The tables of the section on stop rules."""

from collections.abc import Mapping

from sglang_soft_evals.controls_asked import KINDS
from sglang_soft_evals.report.document import Cell, Table
from sglang_soft_evals.report.measures import Measures
from sglang_soft_evals.report.numbers import (
    NONE,
    interval,
    number,
    p_value,
    percent,
    points,
    signed,
)
from sglang_soft_evals.report.stopping import PARTS, Decomposition, Difference, Group

_ACCURACY_NOTE = """\
Thinking tokens: mean of an answer. Saved: of the thinking tokens without a rule. Control budget:
the method without the rule and with one bound, at which its recorded thoughts have the rule's mean.
Control random: the method without the rule, stopped at a length that the rule had on another
question; thoughts that end before it make the mean smaller than the rule's, so it is no control at
equal tokens. In brackets after a control's accuracy: the thinking tokens that it reached."""
_DIFFERENCE_NOTE = """\
Points of accuracy, the rule minus the other, paired by question: 95% bootstrap intervals over
questions, not adjusted; p of a sign-flip test on questions, adjusted by Holm for all rows of its
column."""
_POINTS_NOTE = """\
Points of accuracy against {cot}, paired by question, with 95% bootstrap intervals over questions,
not adjusted. Mixture alone: the method without a rule. Stop alone: {cot} with the rule. Both: the
method with the rule. Interaction: both minus the two others; below 0, together they bring less than
the sum. p: of the interaction, adjusted by Holm for all rows."""
_TOKENS_NOTE = "The same in tokens of an answer, thinking and answer together."


def accuracy(groups: list[Group], measures: Mapping[str, Measures]) -> Table:
    """Each method without a rule and with each rule, next to the rule's controls."""
    rows: list[dict[str, Cell]] = []
    for group in groups:
        rows.append(_row(group.plain, "none", measures.get(group.plain), None))
        plain = measures.get(group.plain)
        for variant in group.variants:
            row = _row(group.plain, variant.rule, measures.get(variant.name), plain)
            for kind in KINDS:
                mine = measures.get(variant.controls[kind] or "")
                row[f"control {kind}, % (thinking tokens)"] = (
                    NONE if mine is None else f"{_accuracy(mine)} ({number(mine.thinking, 1)})"
                )
            rows.append(row)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return Table([{c: row.get(c, NONE) for c in columns} for row in rows], _text(_ACCURACY_NOTE))


def _row(method: str, rule: str, m: Measures | None, plain: Measures | None) -> dict[str, Cell]:
    saved = 100 * (1 - m.thinking / plain.thinking) if m and plain and plain.thinking else None
    return {
        "method": method,
        "rule": rule,
        "accuracy, %": NONE if m is None else _accuracy(m),
        "tokens": NONE if m is None or m.tokens is None else number(m.tokens.value, 1),
        "thinking tokens": NONE if m is None else number(m.thinking, 1),
        "saved, %": NONE if saved is None else signed(saved).removeprefix("+"),
    }


def _accuracy(m: Measures) -> str:
    return percent(m.accuracy) if m.accuracy else m.no_accuracy


def compared(groups: list[Group], found: Mapping[str, Mapping[str, Difference]]) -> Table:
    """found: other (`no rule`, a kind of control) -> name of a variant -> its difference."""
    rows: list[dict[str, Cell]] = []
    for group in groups:
        for variant in group.variants:
            row: dict[str, Cell] = {"method": group.plain, "rule": variant.rule}
            for other, differences in found.items():
                one = differences.get(variant.name)
                row[f"minus {other}, points"] = (
                    NONE if one is None else points(one.value, one.low, one.high)
                )
                row[f"p ({other})"] = NONE if one is None else p_value(one.p_holm)
            rows.append(row)
    return Table(rows, _text(_DIFFERENCE_NOTE))


def parts(found: list[Decomposition], cot: str) -> list[Table]:
    """In points, and in tokens."""
    in_points, in_tokens = [], []
    for one in found:
        first: dict[str, Cell] = {"method": one.method, "rule": one.rule}
        second = dict(first)
        for part in PARTS:
            p, t = one.points[part], one.tokens[part]
            first[part] = points(p.value, p.low, p.high)
            second[part] = f"{signed(t.value)} {interval(t.low, t.high, sign=True)}"
        first["p"] = p_value(one.points[PARTS[3]].p_holm)
        in_points.append(first)
        in_tokens.append(second)
    if not found:
        return []
    note = _text(_POINTS_NOTE).format(cot=cot)
    return [Table(in_points, note), Table(in_tokens, _text(_TOKENS_NOTE))]


def _text(note: str) -> str:
    return " ".join(note.split())
