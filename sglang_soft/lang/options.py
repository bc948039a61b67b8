"""What `gen` says beyond `sgl.gen`, on its way to the backend.

SGLang's interpreter copies named fields of `SglSamplingParams` from a `gen` to the backend, and no
others. `dtype` is one of them, is never sent to a server, and takes any object. So the options
travel in its place, and the backends of this package put the program's own `dtype` back. A backend
of SGLang that reads `dtype` (RuntimeEndpoint, OpenAI) refuses the options by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sglang.lang.ir import SglArgument, SglSamplingParams

CONTINUE_FROM = ("concepts", "text")
SET_BY_PROGRAM = ("trace", "at", "keep", "cut")
"""Keys of `soft_thinking` that the backend sets itself."""


@dataclass(frozen=True)
class Options:
    soft_thinking: bool | Mapping[str, Any] | None = None
    """As in `custom_params`; None: nothing is sent, as `sgl.gen` does."""
    continue_from: str = "concepts"
    """What the following text continues from: one of CONTINUE_FROM."""
    sampling_seed: int | None = None
    dtype: Any = None
    """The `dtype` of the program's `gen`."""

    def __post_init__(self) -> None:
        soft: Any = self.soft_thinking
        if isinstance(soft, SglArgument) or isinstance(self.continue_from, SglArgument):
            return  # SGLang traces the program: the arguments have no values yet
        if self.continue_from not in CONTINUE_FROM:
            raise ValueError(
                f"continue_from must be one of {', '.join(CONTINUE_FROM)}; "
                f"got {self.continue_from!r}."
            )
        if not (soft is None or isinstance(soft, (bool, Mapping))):
            raise ValueError(f"soft_thinking must be true, false or an object; got {soft!r}.")
        if taken := [key for key in SET_BY_PROGRAM if isinstance(soft, Mapping) and key in soft]:
            raise ValueError(f"soft_thinking.{taken[0]} is set by the program itself.")

    @property
    def none_given(self) -> bool:
        return self.soft_thinking is None and self.sampling_seed is None

    @property
    def thinks(self) -> bool:
        return isinstance(self.soft_thinking, Mapping) or self.soft_thinking is True

    @property
    def keys(self) -> dict[str, Any]:
        """The keys of `soft_thinking` that were given."""
        return dict(self.soft_thinking) if isinstance(self.soft_thinking, Mapping) else {}

    @property
    def thought_only(self) -> bool:
        return self.keys.get("max_answer_tokens") == 0

    def __str__(self) -> str:
        """SGLang's backends print it where they refuse a dtype."""
        return (
            f"a gen with soft_thinking={self.soft_thinking!r}, which this backend does not send; "
            "use a backend of sglang_soft.lang"
        )


def take(sampling_params: SglSamplingParams) -> Options:
    """Take the options out of what the interpreter hands to a backend; `dtype` is restored."""
    carried: Any = sampling_params.dtype
    if not isinstance(carried, Options):
        return Options()
    sampling_params.dtype = carried.dtype
    return carried
