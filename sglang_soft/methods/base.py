"""The interface of a thinking method: from the logits of one step to what is fed next.

Shapes: A rows that may think, V vocabulary, k largest concept of this batch, H hidden size. A
method computes for all A rows; rows that think by another method are discarded afterwards. It
may not read anything on the host, and what it computes for a row may depend on that row only.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, cast

import msgspec
import torch
from sglang_soft_kernels import Drawn, SoftSample, layout
from sglang_soft_kernels.index import ones

from sglang_soft.methods.noise import Noise
from sglang_soft.params import Parameter, ThinkingParams, numbers, parameters


class NextInput(NamedTuple):
    """What the rows feed next, and the token that they emit."""

    ids: torch.Tensor
    """[A, any] int; slots beyond the largest concept of the batch are cut"""
    weights: torch.Tensor
    """[A, any] float32, sum 1 (or all 0 with an embedding offset); used slots (weight != 0) come
    first: see `ops.order`."""
    output_token: torch.Tensor
    """[A] int: goes into the output; think-end ends the thought."""
    state: torch.Tensor | None = None
    """[A, S] float32: the method's state after this step."""
    embedding_offset: torch.Tensor | None = None
    """[A, H]: added to the mixture."""
    force_end: torch.Tensor | None = None
    """[A] bool: force think-end here."""


class Draw(NamedTuple):
    """What the rows drew in one step, and how probable that was: for training."""

    tokens: torch.Tensor
    """[A, <= `Method.draw_slots`] int32: the drawn tokens, in order; of a density the tokens whose
    weights or embeddings were disturbed. -1: none."""
    log_prob: torch.Tensor
    """[A] float32, nats: log-probability, or log-density (`Method.has_density`); 0 where the
    row drew nothing."""


class StepContext:
    """What a method sees of one step."""

    def __init__(
        self,
        *,
        sample: SoftSample,
        logits: Callable[[], torch.Tensor],
        ints: torch.Tensor,
        floats: torch.Tensor,
        args: torch.Tensor | None,
        state: torch.Tensor | None,
        noise: Noise | None,
        k: int,
        hidden: torch.Tensor | None,
        hidden_size: int,
        embedding_rms: float,
        embedding_norm: float = 1.0,
        dtype: torch.dtype = torch.float32,
        realignment: torch.Tensor | None = None,
        token_class: Callable[[str], torch.Tensor] | None = None,
        names: Sequence[str] = (),
    ) -> None:
        """ints: [A, 28] int32, floats: [A, 4], as in sglang_soft_kernels/layout.py. args: [A, P],
        the first of which are those of `names`. Columns are views, made on demand."""
        self.sample = sample
        self.ids = sample.ids
        """[A, k] int32: the candidates, most probable first."""
        self.probs = sample.weights
        """[A, k] float32: Filter(p) over the request's own k, sum 1; 0: unused."""
        self.entropy = sample.entropy
        """[A] nats, of p over the whole vocabulary."""
        self.max_prob = sample.max_prob
        """[A] largest probability after temperature, before the filter."""
        self.k = k
        """Largest concept of this batch."""
        self.hidden = hidden
        """[A, H]: last hidden state, after the final norm; there if the method `reads_hidden`."""
        self.hidden_size = hidden_size
        self.embedding_rms = embedding_rms
        """Root mean square of the embedding table's elements."""
        self.embedding_norm = embedding_norm
        """Mean Euclidean norm of the embedding table's rows."""
        self.dtype = dtype
        """Of the model's input embedding, and so of an embedding offset."""
        self.realignment = realignment
        """[H, H] float32: from the output head's space to the embedding table's; there if a request
        of the batch asks for it (`Method.realigned_by`)."""
        self.ints = ints
        """[A, 28] int32: columns of sglang_soft_kernels/layout.py."""
        self.args = args
        """[A, >= P] float32: the method's parameters, in the order of its `Params`."""
        self._logits, self._floats = logits, floats
        self._names, self._state, self._noise = names, state, noise
        self._token_class = token_class

    @property
    def logits(self) -> torch.Tensor:
        """[A, V], after penalties, bias and masks. A copy where not every row may think."""
        return self._logits()

    @property
    def temperature(self) -> torch.Tensor:
        """[A]; 1 where the request is greedy: its first candidate has probability 1."""
        return self._floats[:, layout.TEMPERATURE]

    @property
    def max_topk(self) -> torch.Tensor:
        """[A] int32: the request's own k."""
        return self.ints[:, layout.MAX_TOPK]

    @property
    def think_step(self) -> torch.Tensor:
        """[A] int32: index of this thinking step."""
        return self.ints[:, layout.THINK_STEP]

    @property
    def think_start(self) -> torch.Tensor:
        """[A] int32 id"""
        return self.ints[:, layout.THINK_START]

    @property
    def think_end(self) -> torch.Tensor:
        """[A] int32 id"""
        return self.ints[:, layout.THINK_END]

    @property
    def max_new_tokens(self) -> torch.Tensor:
        """[A] int32"""
        return self.ints[:, layout.MAX_NEW_TOKENS]

    @property
    def state(self) -> torch.Tensor:
        """[A, S] float32; there if the method has a `state`."""
        assert self._state is not None, "a method that reads its state must say how it starts"
        return self._state

    @property
    def noise(self) -> Noise:
        """Of this step; there if the method is `stochastic`."""
        assert self._noise is not None, "a method that draws noise must say that it is `stochastic`"
        return self._noise

    def arg(self, name: str) -> torch.Tensor:
        """[A] float32: a parameter of the method."""
        assert self.args is not None
        return self.args[:, self._names.index(name)]

    def token_class(self, name: str) -> torch.Tensor:
        """[V] bool: which tokens are in a class of `Method.token_classes`."""
        assert self._token_class is not None
        return self._token_class(name)

    def top(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The request's own k most probable tokens, `ids` and `probs`, [A, <= k]."""
        return self.ids, self.probs

    @property
    def drawn(self) -> Drawn:
        """Tokens drawn independently from Filter(p), or from the request's own k most probable
        ones (`Method.needs_full_filter`): ids, ranks and probabilities, [A, >= `Method.draws`]."""
        assert self.sample.drawn is not None, "a method that draws must say how many (`draws`)"
        return self.sample.drawn

    def draw(self, used: torch.Tensor | None = None) -> Draw:
        """The first drawn token. used: [A] bool, rows in which the step depends on it."""
        tokens, log_prob = self.drawn.ids[:, :1], self.drawn.probs[:, 0].log()
        if used is not None:
            tokens = torch.where(used[:, None], tokens, -1)
            log_prob = torch.where(used, log_prob, 0.0)
        return Draw(tokens, log_prob)

    @property
    def candidates(self) -> torch.Tensor:
        """[A, k] int32: `ids`, -1 in unused slots."""
        return torch.where(self.probs > 0, self.ids, -1)

    def discrete(self) -> NextInput:
        """One drawn token: the step of discrete chain of thought."""
        ids = self.drawn.ids[:, :1]
        return NextInput(ids, ones(len(ids), ids.device), ids[:, 0])


class Method:
    """One way to think. The class docstring's first line says what it feeds; instances hold no
    request's data."""

    name: ClassVar[str]
    source: ClassVar[str]
    Params: ClassVar[type[ThinkingParams]] = ThinkingParams
    """Its parameters: a struct with its own fields, and with other defaults of the common ones.
    Tagged with `name`. A method without either need not write one."""
    state: ClassVar[tuple[float, ...]] = ()
    """A row's state before its first thinking step."""
    needs_full_filter: ClassVar[bool] = False
    """It draws from all of Filter(p), not only from the k most probable tokens."""
    needs_unfiltered: ClassVar[bool] = False
    """`StepContext.sample.unfiltered` is there: the k largest logits at temperature 1."""
    stochastic: ClassVar[bool] = False
    """Its trace depends on the request's seed."""
    has_density: ClassVar[bool] = False
    """It draws real numbers, so that `log_prob` is a density."""
    extra_slots: ClassVar[int] = 0
    """Slots that it needs beyond max_topk."""
    needs_think_start: ClassVar[bool] = False
    feeds_offset: ClassVar[bool] = False
    """It feeds embedding offsets. They are kept in host memory, H elements of the model's dtype a
    thinking token."""
    reads_hidden: ClassVar[bool] = False
    realigned_by: ClassVar[str] = ""
    """The bool parameter with which a request asks for `StepContext.realignment`; "": none."""
    token_classes: ClassVar[tuple[str, ...]] = ()
    """Classes of tokens that it reads, of `methods/token_classes.py`."""
    token_parameters: ClassVar[tuple[str, ...]] = ()
    """Parameters that are ids of the model's tokens, or None."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "Params" not in vars(cls):
            bases = (ThinkingParams,)
            struct = msgspec.defstruct(
                f"{cls.__name__}Params", [], bases=bases, tag=cls.name, kw_only=True, frozen=True
            )
            cls.Params = cast(type[ThinkingParams], struct)

    @cached_property
    def arg_names(self) -> tuple[str, ...]:
        """Names of its own parameters, in the order of `args`."""
        return tuple(p.name for p in self.own_parameters())

    @classmethod
    def own_parameters(cls) -> list[Parameter]:
        """The parameters that only this method has."""
        common = ThinkingParams.__struct_fields__
        return [p for p in parameters(cls.Params) if p.name not in common]

    def args(self, params: ThinkingParams) -> tuple[float, ...]:
        """Its own parameters as the numbers that `StepContext.arg` returns: a choice as its index,
        unset as infinity."""
        return numbers(params, self.own_parameters())

    def complete(self, params: ThinkingParams, tokenizer: Any, vocabulary: int) -> ThinkingParams:
        """The parameters of a request, with what only the tokenizer and the model know filled in.

        Args:
            tokenizer: the server's; None with --skip-tokenizer-init.
            vocabulary: number of ids that the model knows.

        Raises:
            ValueError: a parameter needs a tokenizer, and there is none, or it is an id that the
                model does not know; names key and value.
        """
        return params

    def draws(self, k: int) -> int:
        """How many tokens of `StepContext.drawn` it reads. k: largest concept of the batch."""
        return 1 if self.needs_full_filter else 0

    def draw_slots(self, k: int) -> int:
        """Columns of `Draw.tokens` for a concept of size k."""
        return k if self.has_density else max(1, self.draws(k))

    def step(self, context: StepContext) -> NextInput:
        raise NotImplementedError

    def log_prob(self, context: StepContext, fed: NextInput) -> Draw | None:
        """How probable this step was, given those before it; None: the method draws nothing. For
        requests with `return_rollout`. fed: what `step` returned, an embedding offset in the
        model's dtype. A forced step counts for nothing, whatever is returned here."""
        return None

    @classmethod
    def describe(cls) -> str:
        return (cls.__doc__ or "").strip().splitlines()[0] if cls.__doc__ else ""
