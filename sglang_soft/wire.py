"""A validated soft request on its way from the front end to the scheduler."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sglang_soft.params import Sampling

_ARG = "arg:"


class SoftParams(NamedTuple):
    """A soft request with nothing left to default. Travels as a flat dict."""

    method: str
    args: tuple[float, ...]
    """The method's own parameters (`Method.args`)."""
    seed: int
    """Signed 64-bit seed of the request's noise."""
    sample: int
    """Which of the request's parallel samples (n > 1) this is; 0 where there is one."""
    max_topk: int
    thinking: Sampling
    cold_stop_entropy: float
    cold_stop_steps: int
    max_thinking_tokens: int | None
    max_new_tokens: int
    return_concepts: bool
    think_start_id: int | None
    think_end_id: int
    starts_thinking: bool
    """The prompt ends inside an open think block."""

    def to_wire(self) -> dict[str, Any]:
        """A flat dict of scalars: what `SamplingParams.custom_params` can carry across
        processes."""
        flat = self._asdict()
        flat.update(flat.pop("thinking")._asdict())
        flat.update({f"{_ARG}{i}": value for i, value in enumerate(flat.pop("args"))})
        return flat

    @classmethod
    def from_wire(cls, flat: Mapping[str, Any]) -> "SoftParams":
        thinking = Sampling(*(flat[name] for name in Sampling._fields))
        args = tuple(flat[f"{_ARG}{i}"] for i in range(sum(key.startswith(_ARG) for key in flat)))
        rest = {k: flat[k] for k in cls._fields if k not in ("thinking", "args")}
        return cls(thinking=thinking, args=args, **rest)
