"""What one method did on one benchmark."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from sglang_soft_evals.report.records import Record
from sglang_soft_evals.statistics import Estimate, mean_estimate, pass_at_1

Questions = dict[str, list[Record]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """Numbers of one method. Token counts leave failed requests out (they have none); NaN: nothing
    to average."""

    questions: int
    answers: int
    accuracy: Estimate | None
    """None while answers are not graded."""
    tokens: Estimate | None
    """Thinking and answer tokens together of all answers, over questions; None where every request
    failed."""
    thinking: float
    thinking_correct: float
    answer: float
    answer_correct: float
    truncated: int
    failed: int
    how_ended: Counter[str]
    entropy: float
    latency_s: float
    latency_s_p90: float
    tokens_per_s: float
    """Of one request, from sending it to its last token."""


def measure(questions: Questions) -> Measures:
    """questions: at least one, each with at least one record."""
    records = [r for group in questions.values() for r in group]
    answered = [r for r in records if not r.failed]
    right = [r for r in answered if r.correct]
    latency = [r.latency_s for r in answered]
    return Measures(
        questions=len(questions),
        answers=len(records),
        accuracy=_accuracy(questions) if all(r.graded for r in records) else None,
        tokens=mean_estimate(list(tokens.values())) if (tokens := mean_tokens(questions)) else None,
        thinking=_mean(r.thinking_tokens for r in answered),
        thinking_correct=_mean(r.thinking_tokens for r in right),
        answer=_mean(r.answer_tokens for r in answered),
        answer_correct=_mean(r.answer_tokens for r in right),
        truncated=sum(r.status == "truncated" for r in records),
        failed=len(records) - len(answered),
        how_ended=Counter(r.how_ended or "not reported" for r in answered),
        entropy=_mean(r.mean_entropy for r in answered if r.mean_entropy is not None),
        latency_s=_mean(latency),
        latency_s_p90=float(np.quantile(latency, 0.9)) if latency else float("nan"),
        tokens_per_s=sum(r.completion_tokens for r in answered) / sum(latency)
        if sum(latency)
        else float("nan"),
    )


def mean_accuracy(questions: Questions) -> dict[str, float]:
    """Question -> fraction of its answers that are right; a failed one is wrong."""
    return {name: _mean(float(r.correct) for r in records) for name, records in questions.items()}


def mean_tokens(questions: Questions) -> dict[str, float]:
    """Question -> mean completion tokens of its answers; questions of which every request failed
    are left out."""
    return _over(questions, lambda r: r.completion_tokens)


def _accuracy(questions: Questions) -> Estimate:
    return pass_at_1(
        [sum(r.correct for r in g) for g in questions.values()],
        [len(g) for g in questions.values()],
    )


def _over(questions: Questions, value: Callable[[Record], float]) -> dict[str, float]:
    answered = {
        name: [value(r) for r in records if not r.failed] for name, records in questions.items()
    }
    return {name: _mean(values) for name, values in answered.items() if values}


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return float(np.mean(values)) if values else float("nan")
