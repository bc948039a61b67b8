"""Controls of stop rules, made from the records of a run.

A rule that saves tokens may do so by chance of when it stops, not by knowing when. Two controls
think as the method without its rule (the counterpart), with bounds instead:

`budget`  one bound for all samples, at which the counterpart's recorded thoughts would have as many
          tokens on average as the rule's
`random`  each sample has a recorded length of the rule, of another question; natural ends come
          before some of these bounds, so that the mean is below the rule's
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from sglang_soft_evals import bounds
from sglang_soft_evals.bounds import Lengths, Sample
from sglang_soft_evals.controls_asked import name_of
from sglang_soft_evals.hub import Question
from sglang_soft_evals.method import Method
from sglang_soft_evals.record import Key, Record
from sglang_soft_evals.sample import Task, seed_of
from sglang_soft_evals.stop_rules import controlled


class Control(NamedTuple):
    name: str
    method: Method
    """The counterpart's parameters, without a bound."""
    facts: dict[str, Any]
    """How it was made; in `run.json`. `not_run`: why it was not, if it has no bounds."""
    bounds: dict[Sample, int]
    """`max_thinking_tokens` of each sample."""


def trials(kinds: Sequence[str], methods: Sequence[Method], bound: int) -> list[Method]:
    """A method with a bound for each counterpart, to ask the server for it before a run."""
    found: dict[str, Method] = {}
    for method, other in controlled(methods) if kinds else []:
        assert other is not None
        name = name_of(method.name, kinds[0])
        found.setdefault(other.name, _bounded(other, name, bound))
    return list(found.values())


def make(
    kinds: Sequence[str],
    methods: Sequence[Method],
    records: Iterable[Record],
    samples: Sequence[Sample],
    seed: int,
) -> list[Control]:
    """The controls of a run in which every sample of every method is recorded.

    samples: all of a method. seed: of the run.
    """
    lengths: dict[str, dict[Sample, int]] = {}
    for record in records:
        if not record.failed and record.max_thinking_tokens is None:
            mine = lengths.setdefault(record.method, {})
            mine[record.question, record.sample] = record.thinking_tokens
    return [
        _make(kind, method, other, lengths, samples, seed)
        for method, other in controlled(methods)
        for kind in kinds
        if other is not None
    ]


def _make(
    kind: str,
    method: Method,
    other: Method,
    lengths: Mapping[str, Lengths],
    samples: Sequence[Sample],
    seed: int,
) -> Control:
    rule, plain = lengths.get(method.name, {}), lengths.get(other.name, {})
    both = [sample for sample in samples if sample in rule and sample in plain]
    facts: dict[str, Any] = {
        "kind": kind,
        "of": method.name,
        "without_rule": other.name,
        "samples": len(both),
        "left_out": len(samples) - len(both),
    }
    name = name_of(method.name, kind)
    if not both:
        facts["not_run"] = "no sample has an answer both with the rule and without it"
        return Control(name, other, facts, {})
    rule, plain = {s: rule[s] for s in both}, {s: plain[s] for s in both}
    wanted, whole = (Fraction(sum(x.values()), len(both)) for x in (rule, plain))
    facts |= {"rule_mean": float(wanted), "without_rule_mean": float(whole)}
    if wanted >= whole:
        facts["not_run"] = (
            f"the rule saved nothing: {float(wanted):.1f} thinking tokens on average, "
            f"{float(whole):.1f} without it"
        )
        return Control(name, other, facts, {})
    salt = f"{kind} of {method.name}, seed {seed}"
    found: dict[Sample, int]
    if kind == "budget":
        bound = bounds.budget(plain, wanted, salt)
        found = {sample: bound.of(sample) for sample in samples}
        facts["bound"] = bound.least
        facts["one_more"] = sum(value > bound.least for value in found.values()) / len(found)
    else:
        found = bounds.permuted(samples, rule, salt)
        if len(found) < len(samples):
            facts["not_run"] = "a random stop needs lengths of two questions or more"
            return Control(name, other, facts, {})
    expected = sum(min(plain[sample], found[sample]) for sample in both) / len(both)
    facts |= {"expected_mean": expected, "salt": salt}
    return Control(name, other, facts, found)


def tasks(
    controls: Sequence[Control],
    questions: Sequence[Question],
    benchmark: str,
    samples: int,
    seed: int,
    done: Container[Key],
) -> Iterator[Task]:
    """Every sample of the controls that has no record yet; they take turns within each question."""
    for sample in range(samples):
        for question in questions:
            for control in controls:
                key = Key(benchmark, control.name, question.id, sample)
                if control.bounds and key not in done:
                    bound = control.bounds[question.id, sample]
                    method = _bounded(control.method, control.name, bound)
                    drawn = seed_of(seed, question.id, sample)
                    yield Task(method, question, sample, drawn, bound=bound)


def _bounded(method: Method, name: str, bound: int) -> Method:
    """A control's method for one sample."""
    params = method.soft_thinking or {}
    least = params.get("max_thinking_tokens")
    bound = bound if least is None else min(bound, least)
    return Method(name=name, soft_thinking={**params, "max_thinking_tokens": bound})


def entries(methods: Sequence[Mapping[str, Any]], made: Sequence[Control]) -> list[dict[str, Any]]:
    """`methods` of `run.json` with the controls, and how each was made."""
    found = [dict(method) for method in methods if "control" not in method]
    served = {method["name"]: method["thinking_method"] for method in found}
    for control in made:
        params = {**(control.method.soft_thinking or {}), "max_thinking_tokens": "of each sample"}
        one = {"name": control.name, "params": params}
        one |= {"thinking_method": served[control.method.name], "control": control.facts}
        found.append(one)
    return found


def stale(controls: Sequence[Control], records: Iterable[Record]) -> set[Key]:
    """Records of controls that were made from other records: failed samples were asked again."""
    now = {control.name: control.bounds for control in controls}
    found = set()
    for record in records:
        if (bound := record.max_thinking_tokens) is not None:
            mine = now.get(record.method, {})
            if mine.get((record.question, record.sample)) != bound:
                found.add(record.key)
    return found
