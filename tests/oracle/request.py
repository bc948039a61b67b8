"""What a client asks for, as the oracle is asked: every parameter of the method is given, none has
a default."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from . import stopping

NEEDS: dict[str, tuple[str, ...]] = {
    "discrete": (),
    "soft": (),
    "cot": ("seed",),
    "soft_gumbel": ("seed", "gumbel_temperature"),
    "soft_dirichlet": ("seed", "dirichlet_gamma"),
    "moi": ("seed", "moi_beta"),
    "multiplex": ("seed", "multiplex_weighting", "multiplex_token"),
    "average": (),
    "thinkrouter": ("seed", "router_threshold"),
    "selar": ("seed", "selar_threshold", "selar_contrast", "selar_alone", "selar_token"),
    "swireasoning": (
        "seed", "swi_window", "swi_alpha", "swi_beta", "swi_first_share", "swi_blend", "swi_alone",
        "swi_token",
    ),
    "soft_noise": ("seed", "noise_scale"),
    "coconut_tf": (),
}  # fmt: skip
"""The methods, and the fields that each needs in addition to those of all thinking."""


class Cold(NamedTuple):
    """Cold Stop's parameters."""

    threshold: float
    """Nats."""
    steps: int


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a client asks for. The answer, and everything of a discrete request, is decoded greedily."""

    think_start_id: int
    think_end_id: int
    method: str = "soft"
    """A key of `NEEDS`."""
    max_new_tokens: int = 64
    eos_ids: frozenset[int] = frozenset()
    """EOS tokens; empty: ignore_eos."""
    stop_ids: frozenset[int] = frozenset()
    """The request's stop tokens."""
    max_answer_tokens: int | None = None
    """Of those after think-end."""

    # all thinking (every method but discrete); temperature 0: the filter leaves the argmax alone
    max_topk: int = 10
    temperature: float = 0.6
    top_k: int = 30
    top_p: float = 0.95
    min_p: float = 0.001
    cold_stop_threshold: float | None = None
    """Nats. None: no Cold Stop."""
    cold_stop_steps: int = 256
    max_thinking_tokens: int | None = None
    stop: Mapping[str, Any] | None = None
    """{"rule": a key of `stopping.NEEDS`, and its parameters}."""
    boundary_ids: frozenset[int] = frozenset()
    """Tokens of the class `stop["at"]`: see `boundaries.py`."""
    weight_bits: int | None = None
    """Weights are multiples of 2^-weight_bits; None: they are as the method makes them."""
    think_start: tuple[int, ...] = ()
    """Tokens of think-start; empty: `think_start_id`."""
    think_end: tuple[int, ...] = ()
    """Tokens of think-end; empty: `think_end_id`."""
    closing: tuple[int, ...] = ()
    """Tokens of the closing text."""
    thinking_eos: Literal["think_end", "stop"] = "think_end"
    thinking_stop: Literal["answer", "everywhere"] = "answer"

    # one method each; None: not given
    seed: int | None = None
    """Signed 64-bit, of every method that draws."""
    gumbel_temperature: float | None = None
    dirichlet_gamma: float | None = None
    moi_beta: float | None = None
    multiplex_weighting: Literal["mean", "prob"] | None = None
    multiplex_token: Literal["first", "largest"] | None = None
    router_threshold: float | None = None
    selar_threshold: float | None = None
    selar_contrast: float | None = None
    selar_alone: Literal["math", "none"] | None = None
    selar_token: Literal["drawn", "top"] | None = None
    swi_window: int | None = None
    swi_alpha: float | None = None
    swi_beta: float | None = None
    swi_max_switches: int | None = None
    """None: any number."""
    swi_first_share: float | None = None
    swi_first_token: int | None = None
    """None: the first step is an ordinary mixture."""
    swi_blend: Literal["mixture", "drawn"] | None = None
    swi_alone: Literal["math", "none"] | None = None
    swi_token: Literal["drawn", "top"] | None = None
    math_ids: frozenset[int] = frozenset()
    """Tokens that selar and swireasoning feed alone, unless `..._alone` is "none"."""
    noise_scale: float | None = None

    # logits
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repetition_penalty: float = 1.0
    min_new_tokens: int = 0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    penalty_history: Literal["output", "overlap"] = "output"
    """Which tokens the penalties count at output step i (SGLang 0.5.23,
    `ScheduleBatch.cumulate_penalty_output_tokens`): "output", overlap schedule off: the i tokens
    before it. "overlap": late by one, the last prompt token and the first i - 1 outputs (nothing at
    step 0)."""
    retracted_at: Sequence[int] = ()
    """Output steps that a re-prefill after a retraction computed. SGLang counts penalties anew from
    there."""

    @property
    def start(self) -> tuple[int, ...]:
        return self.think_start or (self.think_start_id,)

    @property
    def end(self) -> tuple[int, ...]:
        return self.think_end or (self.think_end_id,)

    @property
    def cold(self) -> Cold | None:
        if self.stop and self.stop["rule"] == "cold_stop":
            return Cold(self.stop["entropy"], self.stop["steps"])
        if self.cold_stop_threshold is None:
            return None
        return Cold(self.cold_stop_threshold, self.cold_stop_steps)

    @property
    def bound(self) -> int | None:
        """Largest number of thinking tokens."""
        given = [self.max_thinking_tokens]
        if self.stop and self.stop["rule"] == "budget":
            given.append(self.stop["tokens"])
        return min((n for n in given if n is not None), default=None)

    def __post_init__(self):
        if self.method not in NEEDS or self.penalty_history not in ("output", "overlap"):
            raise ValueError(f"{self.method=} {self.penalty_history=}")
        if self.stop is not None:
            known = {"rule", *stopping.NEEDS.get(self.stop.get("rule"), ())}
            if set(self.stop) != known or self.cold_stop_threshold is not None:
                raise ValueError(f"{self.stop=}, needs {known}; {self.cold_stop_threshold=}")
        if self.max_topk < 1 or self.temperature < 0 or self.max_new_tokens < 1:
            raise ValueError(f"{self.max_topk=} {self.temperature=} {self.max_new_tokens=}")
        missing = [name for name in NEEDS[self.method] if getattr(self, name) is None]
        if missing:
            raise ValueError(f"method {self.method!r} needs {', '.join(missing)}")
        positive = ("gumbel_temperature", "dirichlet_gamma")
        if any(value is not None and value <= 0 for value in map(self.__getattribute__, positive)):
            raise ValueError(f"{self.gumbel_temperature=} {self.dirichlet_gamma=}: must be above 0")
        if self.multiplex_weighting not in (None, "mean", "prob"):
            raise ValueError(f"{self.multiplex_weighting=}: mean or prob")
        if self.swi_max_switches is not None and self.swi_max_switches < 1:
            raise ValueError(f"{self.swi_max_switches=}: at least 1")
