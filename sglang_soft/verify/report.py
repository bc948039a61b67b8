"""What a comparison found: deviations of each step, and the verdict."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

TOLERANCE = {"float32": 1e-3, "float16": 0.04, "bfloat16": 0.3}
"""Largest deviation of a weight, or of an entropy in nats, by the coarser dtype of trace and
reference. Chosen here: measured deviations in float32 are below 1e-4; one unit of 8 weight bits is
4e-3. In bfloat16, on a model of 135 million parameters and with methods that decide nothing (soft,
soft_noise, coconut_tf), entropies were off by up to 0.15 against a float32 reference and 0.26
against a bfloat16 one, whose errors add up. float16 is 8 times as exact (not measured)."""

NOISE = {"float32": 2e-5, "float16": 0.01, "bfloat16": 0.08}
"""What rounding may do to a logit, in nats, as a standard deviation: two units of the last place of
a logit of 20 in float32; in bfloat16 half of what was measured as the largest deviation."""


@dataclass(frozen=True)
class Step:
    """One thinking step, compared."""

    step: int
    weights: float
    """Largest deviation of a token's weight."""
    entropy: float
    """Deviation of the entropy, in nats."""
    logits: float | None
    """Largest deviation of a difference of two logits, among the tokens that have weight in both:
    weights w that are renormalised probabilities at temperature T tell such a difference,
    T (log w_i - log w_j). None: this step's weights are something else (of another method, drawn,
    rounded by `weight_bits`), or fewer than two tokens have weight."""
    token: int
    """What the trace emitted."""
    reference_token: int
    """What the reference would emit; of a method that draws, with the same noise."""
    gap: float
    """Smallest difference of two neighbouring weights of the reference; 1: it has one token."""
    decided: bool = False
    """Rounding decided it: by the reference's logits the step is off, by logits within NOISE of
    them it is not. The figures are those of the latter."""

    @property
    def worst(self) -> float:
        """What the verdict looks at. Logits are not judged: those of improbable tokens may be far
        off where nothing that is fed is."""
        return max(math.inf if math.isnan(d) else d for d in (self.weights, self.entropy))


@dataclass
class Report:
    """Of a trace. `sound`: no step deviates by more than the tolerance."""

    method: str
    """Where several requests made it, the methods of all."""
    dtype: str
    """That made the trace."""
    reference: str
    """The reference's name."""
    reference_dtype: str
    tolerance: float
    steps: list[Step] = field(default_factory=list)
    """Those that were compared."""
    edited: int = 0
    """Steps that no model made and that were not compared."""

    @property
    def first_bad(self) -> Step | None:
        """The first step beyond the tolerance."""
        return next((s for s in self.steps if not s.worst <= self.tolerance), None)

    @property
    def sound(self) -> bool:
        return self.first_bad is None

    def margin(self, step: Step) -> float:
        """How far a step is within the tolerance; below 0: beyond it."""
        return self.tolerance - step.worst

    def to_json(self) -> dict[str, Any]:
        """The verdict, and the columns of `deviations`: one value a step."""
        bad, names = self.first_bad, ("weights", "entropy", "logits", "gap")
        return {
            "method": self.method,
            "dtype": self.dtype,
            "reference": self.reference,
            "reference_dtype": self.reference_dtype,
            "tolerance": self.tolerance,
            "steps": len(self.steps),
            "edited_steps": self.edited,
            "sound": self.sound,
            "margin": min(map(self.margin, self.steps), default=self.tolerance),
            "first_bad_step": None if bad is None else vars(bad) | {"margin": self.margin(bad)},
            "largest_deviation_of_weights": largest(s.weights for s in self.steps) or 0.0,
            "largest_deviation_of_entropy": largest(s.entropy for s in self.steps) or 0.0,
            "largest_deviation_of_logits": largest(s.logits for s in self.steps),
            "steps_decided_by_rounding": sum(s.decided for s in self.steps),
            "other_tokens": sum(s.token != s.reference_token for s in self.steps),
            "deviations": {name: [getattr(s, name) for s in self.steps] for name in names},
        }

    def __str__(self) -> str:
        facts, bad = self.to_json(), self.first_bad
        logits = facts["largest_deviation_of_logits"]
        lines = [
            f"{len(self.steps)} steps of method {self.method}, made in {self.dtype}; reference "
            f"{self.reference} in {self.reference_dtype}",
            f"largest deviation: weights {facts['largest_deviation_of_weights']:.3g}, entropy "
            f"{facts['largest_deviation_of_entropy']:.3g} nats, logits "
            + ("not told by these weights" if logits is None else f"{logits:.3g}"),
        ]
        if self.edited:
            lines.append(f"{self.edited} further steps were edited or put there, and not compared")
        if decided := facts["steps_decided_by_rounding"]:
            lines.append(f"rounding decided {decided} of the steps (a draw, a threshold, a tie)")
        if bad is None:
            worst = max(self.steps, key=lambda s: s.worst)
            verdict = (
                f"sound: tolerance {self.tolerance:g}, of which step {worst.step} uses most, "
                f"{worst.worst:.3g}"
            )
        else:
            may = bad.gap <= self.tolerance
            verdict = (
                f"NOT sound: first at step {bad.step}: weights off by {bad.weights:.3g}, entropy "
                f"by {bad.entropy:.3g} nats, {-self.margin(bad):.3g} beyond the tolerance of "
                f"{self.tolerance:g}; smallest gap between two weights there {bad.gap:.3g}: "
                f"rounding {'may have decided' if may else 'did not decide'} their order"
            )
        return "\n".join([*lines, verdict])


def largest(values: Iterable[float | None]) -> float | None:
    """None: there is none."""
    return max((v for v in values if v is not None), default=None)
