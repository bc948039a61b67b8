"""What one method did on one benchmark."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import nan

import numpy as np

from sglang_soft_evals.record import Record
from sglang_soft_evals.statistics import Estimate, mean_estimate, pass_at_1

Questions = dict[str, list[Record]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """Numbers of one method on one benchmark. Tokens are averaged without failed requests, which
    have none; NaN: there is nothing to average."""

    questions: int
    answers: int
    accuracy: Estimate | None
    """None if answers are not graded yet or every request failed."""
    tokens: Estimate | None
    """Thinking and answer tokens of an answer, over questions; None if every request failed."""
    thinking: float
    thinking_correct: float
    answer: float
    answer_correct: float
    truncated: int
    failed: int
    unscored: int
    """Answers on which the grader had no verdict."""
    thinking_finish_reasons: Counter[str]
    entropy: float
    concept_size: float
    """Mean number of mixed tokens, over all thinking steps; NaN for discrete requests."""
    mixed_share: float
    """Share of all thinking steps that mixed more than one token; NaN for discrete requests."""
    latency_s: float
    latency_s_p90: float
    tokens_per_s: float
    """Of one request, from the time it is sent to its last token."""

    @property
    def all_failed(self) -> bool:
        """There is no score: every request failed, or the grader had no verdict on any answer."""
        return self.failed + self.unscored == self.answers

    @property
    def no_accuracy(self) -> str:
        """What to show in place of the accuracy, if there is none."""
        if not self.all_failed:
            return "not graded"
        return "ERROR: no verdict" if self.unscored else "ERROR: all requests failed"


def measure(questions: Questions) -> Measures:
    """questions: at least one, each with at least one record."""
    records = [r for group in questions.values() for r in group]
    answered = [r for r in records if not r.failed]
    right = [r for r in answered if r.correct]
    latency = [r.latency_s for r in answered]
    unscored = sum(bool(r.error) for r in answered)
    scored = len(answered) > unscored and all(r.graded for r in records)
    accuracy = _accuracy(questions) if scored else None
    speed = sum(r.completion_tokens for r in answered) / sum(latency) if sum(latency) else nan
    return Measures(
        questions=len(questions),
        answers=len(records),
        accuracy=accuracy,
        tokens=mean_estimate(list(tokens.values())) if (tokens := mean_tokens(questions)) else None,
        thinking=_mean(r.thinking_tokens for r in answered),
        thinking_correct=_mean(r.thinking_tokens for r in right),
        answer=_mean(r.answer_tokens for r in answered),
        answer_correct=_mean(r.answer_tokens for r in right),
        truncated=sum(r.status == "truncated" for r in records),
        failed=len(records) - len(answered),
        unscored=unscored,
        thinking_finish_reasons=Counter(
            r.thinking_finish_reason or "not reported" for r in answered
        ),
        entropy=_mean(r.mean_entropy for r in answered if r.mean_entropy is not None),
        concept_size=_over_steps(answered, lambda r: r.mean_concept_size),
        mixed_share=_over_steps(answered, lambda r: r.mixed_share),
        latency_s=_mean(latency),
        latency_s_p90=float(np.quantile(latency, 0.9)) if latency else nan,
        tokens_per_s=speed,
    )


def mean_accuracy(questions: Questions) -> dict[str, float]:
    """Question -> fraction of its answers that are right; a failed one is wrong."""
    return {name: _mean(float(r.correct) for r in records) for name, records in questions.items()}


def mean_tokens(questions: Questions) -> dict[str, float]:
    """Question -> mean completion tokens of its answers, without the questions of which every
    request failed."""
    return _over(questions, lambda r: r.completion_tokens)


def _accuracy(questions: Questions) -> Estimate:
    groups = questions.values()
    return pass_at_1([sum(r.correct for r in g) for g in groups], [len(g) for g in groups])


def _over(questions: Questions, value: Callable[[Record], float]) -> dict[str, float]:
    answered = {
        name: [value(r) for r in records if not r.failed] for name, records in questions.items()
    }
    return {name: _mean(values) for name, values in answered.items() if values}


def _over_steps(records: list[Record], value: Callable[[Record], float | None]) -> float:
    """Mean over all thinking steps, of a mean of each answer."""
    known = [(v, r.thinking_tokens) for r in records if (v := value(r)) is not None]
    steps = sum(tokens for _, tokens in known)
    return sum(v * tokens for v, tokens in known) / steps if steps else nan


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return float(np.mean(values)) if values else nan
