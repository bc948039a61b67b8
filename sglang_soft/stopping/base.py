"""The interface of a stopping rule: from the logits of one step to whether think-end is forced.

Any rule goes with any method. Shapes: A rows that may think, V vocabulary, S state. A rule computes
for all A rows; what it says of rows that have another rule is discarded. It may not read anything
on the host, and what it computes for a row may depend on that row only.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, cast

import msgspec
import torch
from sglang_soft_kernels import LogitFacts, SoftSample, layout

from sglang_soft.methods import token_classes
from sglang_soft.params import Parameter, StopParams, described, numbers, parameters

BOUNDARIES = ("sentence", "clause", "paragraph", "every")
"""Classes of tokens after which a rule may act, of methods/token_classes.py."""
At = Annotated[
    Literal["sentence", "clause", "paragraph", "every"],
    described("The rule acts after tokens of this class: that end a sentence, a sentence or a "
              "clause, or a paragraph, or any token"),
]  # fmt: skip


class StopContext:
    """What a rule sees of one step."""

    def __init__(
        self, *, logits: Callable[[], torch.Tensor], facts: Callable[[], LogitFacts],
        ints: torch.Tensor, args: torch.Tensor, state: torch.Tensor, names: Sequence[str],
        token_classes: Callable[[tuple[str, ...]], torch.Tensor], sample: SoftSample | None = None,
    ) -> None:  # fmt: skip
        """ints: [A, 28] int32, as in sglang_soft_kernels/layout.py. args: [A, P], those of `names`
        first. state: [A, S]. token_classes: names to [n, V] bool."""
        self.ints = ints
        """[A, 28] int32: columns of sglang_soft_kernels/layout.py."""
        self.args = args
        """[A, >= P] float32: the rule's parameters, in the order of its `Params`."""
        self.state = state
        """[A, S] float32: as the last step left it."""
        self.sample = sample
        """What the method is given of this step; None in `adjust`, which comes before."""
        self._logits, self._facts = logits, facts
        self._names, self._classes = names, token_classes

    @property
    def logits(self) -> torch.Tensor:
        """[A, V], after penalties, bias and masks. A copy where not every row may think."""
        return self._logits()

    @property
    def facts(self) -> LogitFacts:
        """Of the logits: rank and logit of think-end, largest and second largest, mean, entropy at
        temperature 1. Read once for all rules."""
        return self._facts()

    @property
    def think_step(self) -> torch.Tensor:
        """[A] int32: index of this thinking step."""
        return self.ints[:, layout.THINK_STEP]

    @property
    def last_token(self) -> torch.Tensor:
        """[A] int32: the output token of the step before; at the first step it is none of the
        thought."""
        return self.ints[:, layout.LAST_TOKEN]

    @property
    def boundary(self) -> torch.Tensor:
        """[A] bool: the last token is of the class that the parameter `at` names. Never at the
        first step."""
        tables = self._classes(BOUNDARIES)
        flat = self.arg("at").long() * tables.shape[1] + self.last_token.clamp(min=0)
        return tables.view(-1)[flat] & (self.think_step > 0)

    def arg(self, name: str) -> torch.Tensor:
        """[A] float32: a parameter of the rule."""
        return self.args[:, self._names.index(name)]


class StopRule:
    """One way to end a thought. The class docstring's first line says when; instances hold no
    request's data."""

    name: ClassVar[str]
    source: ClassVar[str]
    Params: ClassVar[type[StopParams]] = StopParams
    """Its parameters: a struct with its own fields, tagged with `name`. A rule without any need not
    write one."""
    state: ClassVar[tuple[float, ...]] = ()
    """A row's state before its first thinking step; finite numbers."""
    fused: ClassVar[bool] = False
    """It is a part of the kernel that ends every step, and has no step of its own."""
    adjusts: ClassVar[bool] = False
    """It changes the logit of think-end (`adjust`)."""
    stops: ClassVar[bool] = True
    """It forces think-end (`step`)."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "Params" not in vars(cls):
            struct = msgspec.defstruct(
                f"{cls.__name__}Params", [], bases=(StopParams,), tag=cls.name, kw_only=True,
                frozen=True,
            )  # fmt: skip
            cls.Params = cast(type[StopParams], struct)

    @classmethod
    def own_parameters(cls) -> list[Parameter]:
        return list(parameters(cls.Params))

    @cached_property
    def arg_names(self) -> tuple[str, ...]:
        """Names of its parameters, in the order of `args`."""
        return tuple(p.name for p in self.own_parameters())

    def args(self, params: StopParams) -> tuple[float, ...]:
        """Its parameters as the numbers that `StopContext.arg` returns: a choice as its index,
        unset as infinity."""
        return numbers(params, self.own_parameters())

    @cached_property
    def idle_args(self) -> tuple[float, ...]:
        """In place of the parameters of rows that have another rule, so that every row can be
        computed: the defaults, and 0 of what is required."""
        struct = {p.name: 0 for p in self.own_parameters() if p.required}
        return self.args(self.Params(**struct))

    def check(self, params: StopParams, tokenizer: Any) -> None:
        """Raises ValueError: a parameter needs a tokenizer, and the server has none."""
        if (at := getattr(params, "at", None)) is not None:
            token_classes.check(tokenizer, "stop.at", at, token_classes.EVERY)

    def adjust(self, context: StopContext) -> torch.Tensor:
        """What is added to the logit of think-end, [A] float32, before anything else of the step
        reads the logits; called where `adjusts`."""
        raise NotImplementedError

    def step(self, context: StopContext) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Whether think-end is forced in this step, [A] bool, and the state after it, [A, S]
        float32 (None: it has none); called where `stops`."""
        raise NotImplementedError

    @classmethod
    def describe(cls) -> str:
        return (cls.__doc__ or "").strip().splitlines()[0] if cls.__doc__ else ""
