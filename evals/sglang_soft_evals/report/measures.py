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
    thinking_finish_reasons: Counter[str]
    entropy: float
    latency_s: float
    latency_s_p90: float
    tokens_per_s: float
    """Of one request, from the time it is sent to its last token."""

    @property
    def all_failed(self) -> bool:
        return self.failed == self.answers

    @property
    def no_accuracy(self) -> str:
        """What to show in place of the accuracy, if there is none."""
        return "ERROR: all requests failed" if self.all_failed else "not graded"


def measure(questions: Questions) -> Measures:
    """questions: at least one, each with at least one record."""
    records = [r for group in questions.values() for r in group]
    answered = [r for r in records if not r.failed]
    right = [r for r in answered if r.correct]
    latency = [r.latency_s for r in answered]
    accuracy = _accuracy(questions) if answered and all(r.graded for r in records) else None
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
        thinking_finish_reasons=Counter(
            r.thinking_finish_reason or "not reported" for r in answered
        ),
        entropy=_mean(r.mean_entropy for r in answered if r.mean_entropy is not None),
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


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return float(np.mean(values)) if values else nan
