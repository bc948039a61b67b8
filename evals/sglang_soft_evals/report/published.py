"""Published accuracies, each with who published it. They are theirs: other prompts, graders and
hardware than ours."""

import re
from math import sqrt
from typing import NamedTuple

PAPER = "Soft Thinking (arXiv 2505.15778)"
WU = "Wu et al. (arXiv 2508.03440)"
SELAR = "SeLaR (arXiv 2604.08299)"
MOI = "Mixture of Inputs (arXiv 2505.14827)"

QUESTIONS = {"MATH500": 500, "AIME24": 30, "GSM8K": 1319, "GPQA-Diamond": 198}
MATH4 = "mean of MATH500, AIME24, GSM8K, GPQA-Diamond"
CODE3 = "mean of HumanEval, MBPP, LiveCodeBench"


class Published(NamedTuple):
    """One published number."""

    source: str
    model: str
    benchmark: str
    method: str
    accuracy: float
    """In percent."""
    samples: int | None
    """Answers to each question; None: not known to us."""
    tokens: float | None = None
    """Mean length of correct answers only."""
    note: str = ""

    @property
    def n(self) -> str:
        """Questions x samples, as far as known."""
        each = "not known" if self.samples is None else str(self.samples)
        questions = QUESTIONS.get(self.benchmark)
        return (
            f"{questions} x {each}"
            if questions
            else each
            if self.samples is None
            else f"{each} a question"
        )

    @property
    def se(self) -> float | None:
        """Standard error in points of a single run over this benchmark's questions, which the
        papers do not give."""
        questions = QUESTIONS.get(self.benchmark)
        if self.samples != 1 or questions is None or not 0 < self.accuracy < 100:
            return None
        return 100 * sqrt(self.accuracy / 100 * (1 - self.accuracy / 100) / questions)


def _paper() -> list[Published]:
    rows = []
    accuracies = {
        "CoT": (16, (97.66, 76.88, 96.67, 64.17)),
        "CoT, greedy": (1, (97.00, 80.00, 96.57, 65.17)),
        "Soft Thinking": (1, (98.00, 83.33, 96.81, 67.17)),
    }
    for method, (samples, values) in accuracies.items():
        rows += [
            Published(PAPER, "QwQ-32B", b, method, v, samples) for b, v in zip(QUESTIONS, values)
        ]
    means = {
        "QwQ-32B": ((83.84, 6472, 86.32, 5719), (85.70, 86.18)),
        "R1-Distill-Qwen-32B": ((81.32, 4995, 83.03, 3875), (83.23, 84.13)),
        "R1-Distill-Llama-70B": ((81.31, 4486, 82.42, 3683), (83.14, 83.84)),
    }
    for model, ((cot, cot_tokens, soft, soft_tokens), (cot_code, soft_code)) in means.items():
        rows += [
            Published(PAPER, model, MATH4, "CoT", cot, 16, cot_tokens),
            Published(PAPER, model, MATH4, "Soft Thinking", soft, 1, soft_tokens),
            Published(PAPER, model, CODE3, "CoT", cot_code, 16),
            Published(PAPER, model, CODE3, "Soft Thinking", soft_code, 1),
        ]
    rows.append(Published(PAPER, "QwQ-32B", MATH4, "CoT, greedy", 84.68, 1))
    always_long = "ablation; always runs to 32,768 tokens"
    for method, benchmark, value, note in (
        ("COCONUT-TF", "AIME24", 0.0, always_long),
        ("COCONUT-TF", "LiveCodeBench", 0.0, always_long),
        ("average embedding", "AIME24", 6.66, "ablation"),
        ("average embedding", "LiveCodeBench", 7.49, "ablation; seen second-hand only"),
        ("Soft Thinking without Cold Stop", "AIME24", 73.33, "ablation"),
        ("Soft Thinking without Cold Stop", "LiveCodeBench", 56.98, "ablation"),
        ("Soft Thinking with Cold Stop", "LiveCodeBench", 62.72, "ablation"),
    ):
        rows.append(Published(PAPER, "QwQ-32B", benchmark, method, value, 1, None, note))
    return rows


def _others() -> list[Published]:
    wu = ("CoT, greedy", "CoT", "Soft Thinking", "Soft + Dirichlet", "Soft + Gumbel")
    by_model = {
        "R1-Distill-Qwen-32B": (71.57, 78.50, 71.50, 78.36, 79.55),
        "QwQ-32B": (82.64, 82.35, 80.06, 81.39, 83.63),
    }
    rows = [
        Published(WU, model, "mean of 8 benchmarks", method, value, None)
        for model, values in by_model.items()
        for method, value in zip(wu, values)
    ]
    rows += [
        Published(SELAR, "Qwen3-8B", "their mean", method, value, None)
        for method, value in (("CoT", 79.68), ("Soft Thinking", 76.99))
    ]
    rows += [
        Published(MOI, "QwQ-32B", "their mean", method, value, None)
        for method, value in (
            ("CoT", 72.86),
            ("direct mixture", 60.96),
            ("Mixture of Inputs", 74.15),
        )
    ]
    return rows


ROWS = (*_paper(), *_others())


def published_for(benchmark: str) -> list[Published]:
    """Rows of one benchmark; names are compared without case, punctuation and century (`aime2024`
    is AIME24)."""
    return [row for row in ROWS if _key(row.benchmark) == _key(benchmark)]


def published_means() -> list[Published]:
    """Rows that average several benchmarks."""
    return [row for row in ROWS if "mean" in row.benchmark]


def _key(name: str) -> str:
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    return re.sub(
        r"(?<=aime)20(?=\d\d)",
        "",
        {"gpqad": "gpqadiamond", "gpqa": "gpqadiamond"}.get(plain, plain),
    )
