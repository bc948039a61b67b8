"""One method of a run: what is sent as `custom_params.soft_thinking`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sglang_soft_evals.rules import TEXT, Rule, check, check_fields, integer, optional


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    name: str
    """In the report."""
    soft_thinking: Mapping[str, Any] | None = None
    """Sent as `custom_params.soft_thinking`, which the server checks; None: discrete decoding."""
    answers_per_thought: int = 1
    """So many samples go on from one thought (`forking`)."""

    def __post_init__(self) -> None:
        check_fields(self, "methods.", name=TEXT)
        table = optional(Rule("a table", lambda v: isinstance(v, Mapping)))
        prefix, forks = f"methods.{self.name}.", self.answers_per_thought
        check_fields(self, prefix, soft_thinking=table, answers_per_thought=integer(1))
        plain = '1 without soft_thinking (plain thoughts: method = "cot")'
        check(self.soft_thinking is not None or forks == 1, f"{prefix}answers_per_thought", plain,
              forks)  # fmt: skip
