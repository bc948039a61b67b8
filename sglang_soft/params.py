"""Request parameters of Soft Thinking: structs that parse, validate, explain and transport them.

A request opts in with `custom_params={"soft_thinking": {...}}`, or `true` for the defaults; `false`
opts out of a server-wide default. `ThinkingParams` is what every method has; a method adds fields
of its own (`methods/`). A parameter takes three forms: this struct, the encoded string that travels
in `custom_params` (`RequestParams`), and the row of the concept pool (`engine/pool.py`).
"""

import math
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, NamedTuple, get_args

import msgspec
from msgspec import Meta
from sglang_soft_kernels.sequences import MAX_CLOSING

from sglang_soft.trace import StepsDelta

KEY = "soft_thinking"
"""The key inside SGLang's `SamplingParams.custom_params`."""


def described(doc: str, *aliases: str, allowed: str | None = None, **bounds: Any) -> Meta:
    """What a parameter means and may be. aliases: its names in the paper authors' fork. allowed:
    the range in words where `bounds` (ge, gt, le, lt) do not say it."""
    return Meta(description=doc, extra={"aliases": aliases, "allowed": allowed}, **bounds)


def _of(phase: str, fork: str = "") -> dict[str, Meta]:
    def name(key: str) -> tuple[str, ...]:
        return (fork + key,) if fork else ()

    tail = f"of the {phase}; default: the request's"
    return {
        "temperature": described(f"Temperature (0: greedy) {tail}", *name("temperature"), ge=0),
        "top_p": described(f"Nucleus bound {tail}", *name("top_p"), gt=0, le=1),
        "top_k": described(
            f"Number of most probable tokens kept {tail}", *name("top_k"),
            allowed="-1 (all) or >= 1", ge=-1,
        ),
        "min_p": described(
            f"Least probability relative to the largest {tail}", *name("min_p"), ge=0, le=1
        ),
    }  # fmt: skip


_THINKING = _of("thinking phase")
_ANSWER = _of("text outside the thinking phase", fork="after_thinking_")
MAX_INT = 2**31 - 1

MaxTopK = Annotated[int, described("k: the largest number of tokens in one concept token", ge=1)]
Temperature = Annotated[float, _THINKING["temperature"]]
TopP = Annotated[float, _THINKING["top_p"]]


class StopParams(msgspec.Struct, kw_only=True, frozen=True, tag_field="rule"):
    """The parameters of a stopping rule, as a client gives them. Tagged with the rule's name."""

    @property
    def bound(self) -> int | None:
        """Upper bound on thinking tokens that the rule is; None: it is none."""
        return None


class ThinkingParams(msgspec.Struct, kw_only=True, frozen=True, tag_field="method"):
    """The parameters that every method has, as a client gives them."""

    max_topk: MaxTopK = 10
    temperature: Temperature | None = None
    top_p: TopP | None = None
    top_k: Annotated[int, _THINKING["top_k"]] | None = None
    min_p: Annotated[float, _THINKING["min_p"]] | None = None
    answer_temperature: Annotated[float, _ANSWER["temperature"]] | None = None
    answer_top_p: Annotated[float, _ANSWER["top_p"]] | None = None
    answer_top_k: Annotated[int, _ANSWER["top_k"]] | None = None
    answer_min_p: Annotated[float, _ANSWER["min_p"]] | None = None
    stop: (
        Annotated[
            StopParams,
            described("Stopping rule, which forces think-end: its name, `rule`, and its parameters",
                      allowed="an object with the key rule; see the stopping rules"),
        ]
        | None
    ) = None  # fmt: skip
    cold_stop_entropy: Annotated[
        float,
        described("Short for the stopping rule cold_stop: its `entropy`",
                  "early_stopping_entropy_threshold", ge=0),
    ] = 0.0  # fmt: skip
    cold_stop_steps: Annotated[
        int,
        described("Short for the stopping rule cold_stop: its `steps`",
                  "early_stopping_length_threshold", ge=1, le=MAX_INT),
    ] = 256  # fmt: skip
    max_thinking_tokens: (
        Annotated[
            int,
            described("Upper bound on thinking tokens, closing text included; think-end is forced "
                      "after the last one; default: none", ge=0, le=MAX_INT),
        ]
        | None
    ) = None  # fmt: skip
    thinking_start: Annotated[
        Literal["prompt", "now", "token", "never"],
        described("When thinking starts: where the prompt ends inside a think block that the "
                  "assistant's turn opened, else at a think-start token; at once; at a think-start "
                  "token, whatever the prompt says; never"),
    ] = "prompt"  # fmt: skip
    thinking_eos: Annotated[
        Literal["think_end", "stop"],
        described("What an end-of-sequence token does in a thought: it becomes think-end, or it "
                  "ends the request, as SGLang has it. `ignore_eos` turns either off"),
    ] = "think_end"  # fmt: skip
    thinking_stop: Annotated[
        Literal["answer", "everywhere"],
        described("Where `stop`, `stop_regex` and `stop_token_ids` act: in the answer only, with "
                  "matches that lie wholly in it, or in the thought as well, as SGLang has it"),
    ] = "answer"  # fmt: skip
    closing_text: Annotated[
        str,
        described("Text that is put before think-end where the stopping rule, "
                  "max_thinking_tokens or the method forces it; its tokens are thinking tokens",
                  allowed=f"text of at most {MAX_CLOSING} tokens, without think-end"),
    ] = ""  # fmt: skip
    max_answer_tokens: (
        Annotated[
            int,
            described("Upper bound on tokens after think-end (0: the thought only); default: none",
                      ge=0, le=MAX_INT),
        ]
        | None
    ) = None  # fmt: skip
    weight_bits: (
        Annotated[
            int,
            described("b: weights of a concept token are rounded to multiples of 2^-b; default: "
                      "they are not", ge=1, le=16),
        ]
        | None
    ) = None  # fmt: skip
    return_concepts: Annotated[
        bool, described("Return the trace: every step's ids, weights and entropy, and the rest")
    ] = False
    return_rollout: Annotated[
        bool,
        described("Return the trace with what training needs: what each step drew, and its "
                  "log-probability"),
    ] = False  # fmt: skip

    @property
    def bound(self) -> int | None:
        """Upper bound on thinking tokens: `max_thinking_tokens` or the stopping rule's, the smaller
        one; None: there is none."""
        bounds = (self.max_thinking_tokens, self.stop.bound if self.stop else None)
        return min((b for b in bounds if b is not None), default=None)

    @property
    def returns_trace(self) -> bool:
        return self.return_concepts or self.return_rollout


class Sampling(NamedTuple):
    """Sampling parameters of one phase."""

    temperature: float
    top_p: float
    top_k: int
    """-1: all."""
    min_p: float

    def given(self, params: ThinkingParams, prefix: str = "") -> "Sampling":
        """These values, with what `params` says about one phase in their place, in SGLang's normal
        form: greedy is temperature 1 with top_k 1. They are the request's as it gave them: in the
        normal form of a greedy request its top_k is gone.

        prefix: of the fields, "" for the thinking phase or "answer_".
        """
        values = {name: getattr(params, prefix + name) for name in self._fields}
        sampling = self._replace(**{k: v for k, v in values.items() if v is not None})
        if sampling.temperature < 1e-6:  # SGLang's own threshold (SamplingParams.__post_init__)
            sampling = sampling._replace(temperature=1.0, top_k=1)
        return sampling


class Given(NamedTuple):
    """What a request brings of a trace: its prompt ends with it (server/given.py)."""

    prompt_len: int
    """Tokens of the trace's prompt; the rest of the request's prompt are its output tokens."""
    steps: StepsDelta | None
    """Of the open or ended thought; None: the thought is part of the prompt."""
    prompt_steps: StepsDelta | None = None
    """Concept tokens in the trace's prompt, and plain tokens between them."""
    keys: bytes = b""
    prompt_keys: bytes = b""
    """Cache keys of the first `steps` and `prompt_steps`, int64; the engine computes others."""
    thinking_finish_reason: str | None = None
    low_entropy_steps: int = 0
    method_state: tuple[float, ...] = ()
    """Of the method, then of the stopping rule. Empty: the first state of both."""
    last_token: int = -1
    """Its last output token; -1: it has none."""
    delimiter_match: int = 0
    tail_step: int = 0
    tail_reason: str | None = None
    weight_bits: int = 0
    """How the trace keeps its weights."""
    end_weights: bytes = b""
    """float32 `Trace.end_weights` of a thought that has ended."""
    segments: tuple[dict[str, Any], ...] = ()
    """Of the trace; at least one where it has steps."""
    embedding_rms: float | None = None
    """Of the model that made it."""

    @property
    def has_ended(self) -> bool:
        """The thought, by think-end."""
        return self.thinking_finish_reason is not None


class RequestParams(msgspec.Struct, kw_only=True, frozen=True):
    """A soft request with nothing left to default; `encode` is what crosses the processes."""

    params: ThinkingParams
    """The struct of the request's method."""
    thinking: Sampling
    seed: int
    """Signed 64-bit seed of the request's noise."""
    sample: int = 0
    """Which of the request's parallel samples (n > 1) this is; 0 where there is one."""
    max_new_tokens: int
    think_start: tuple[int, ...]
    """Tokens of think-start; empty: thinking does not start at one."""
    think_end: tuple[int, ...]
    closing: tuple[int, ...] = ()
    """Tokens of `closing_text`."""
    starts_thinking: bool
    """The first output token is one of the thought."""
    eos_ids: tuple[int, ...] = ()
    """Tokens that become think-end in the thought, at most 8."""
    host_bytes: int = 0
    """Host memory that its embedding offsets, or the logits that it reads, may take."""
    given: Given | None = None
    only_answers: bool = False
    """It does not think: what a trace thought is in its prompt."""
    reads_from: int | None = None
    """It generates nothing and gives back the logits of its prompt from this position on
    (server/reading.py). None: it generates."""
    keep: bool = False
    """The server keeps its trace (server/kept.py)."""

    @property
    def method(self) -> str:
        return method_of(self.params)

    def encode(self) -> str:
        return msgspec.json.encode(self).decode()


def method_of(params: ThinkingParams) -> str:
    """Name of the method whose struct this is."""
    return str(type(params).__struct_config__.tag)


class Parameter(NamedTuple):
    """One field of a struct, as the docs, errors and the command line show it."""

    name: str
    kind: type
    """bool, int, float, str, or a struct"""
    annotated: Any
    """Its type and `meta`, as msgspec reads them."""
    choices: tuple[str, ...]
    """The allowed strings; empty: not a choice."""
    meta: Meta
    default: Any

    @property
    def type_name(self) -> str:
        return "object" if issubclass(self.kind, msgspec.Struct) else self.kind.__name__

    @property
    def required(self) -> bool:
        return self.default is msgspec.NODEFAULT

    @property
    def aliases(self) -> tuple[str, ...]:
        return (self.meta.extra or {}).get("aliases", ())

    @property
    def allowed(self) -> str:
        """The range in words, as tables have it: without the bound of 32 bits."""
        if text := (self.meta.extra or {}).get("allowed"):
            return text
        if self.kind is bool:
            return "true or false"
        if self.choices:
            return "one of " + ", ".join(self.choices)
        m = self.meta
        low, high = (m.gt if m.ge is None else m.ge), (m.lt if m.le is None else m.le)
        if high is None or high == MAX_INT:
            sign = ">" if m.ge is None else ">="
            return f"a finite number {sign} {low:g}" if self.kind is float else f"{sign} {low}"
        opening, closing = "(" if m.ge is None else "[", ")" if m.le is None else "]"
        bounds = ("2^24" if v == 2**24 else f"{v:g}" for v in (low, high))
        return opening + ", ".join(bounds) + closing

    def convert(self, label: str, value: Any, allowed: str | None = None) -> Any:
        """`value` as `kind`. label: what an error calls the parameter. allowed: its range in words,
        where the server narrows it.

        Raises:
            ValueError: wrong type or out of range; names label, value and range.
        """
        allowed, got = allowed or self.allowed, repr(value)[:100]
        kinds = (int, float) if self.kind is float else (self.kind,)
        if not isinstance(value, kinds) or (self.kind is not bool and isinstance(value, bool)):
            wanted, kind = _article(self.type_name), type(value).__name__
            raise ValueError(f"{label} must be {wanted} (allowed: {allowed}); got {got} ({kind}).")
        try:
            converted = msgspec.convert(self.kind(value), self.annotated)
        except (msgspec.ValidationError, OverflowError):
            converted = None
        infinite = isinstance(converted, float) and not math.isfinite(converted)
        if converted is None or infinite or (self.name.endswith("top_k") and converted == 0):
            if self.meta.le == MAX_INT and allowed == self.allowed:
                allowed += f" and <= {MAX_INT}"
            raise ValueError(f"{label} is out of range (allowed: {allowed}); got {got}.")
        return converted


def parameters(struct: type[msgspec.Struct]) -> Iterator[Parameter]:
    """The fields of a struct, in order."""
    for f in msgspec.structs.fields(struct):
        # Annotated[...] or Annotated[...] | None
        annotated = next(t for t in (f.type, *get_args(f.type)) if getattr(t, "__metadata__", None))
        inner = annotated.__origin__
        kind = inner if isinstance(inner, type) else str  # a Literal is one of some strings
        choices = get_args(inner) if kind is str else ()
        yield Parameter(f.name, kind, annotated, choices, annotated.__metadata__[0], f.default)


def numbers(struct: msgspec.Struct, of: Iterable[Parameter]) -> tuple[float, ...]:
    """Values as device rows hold them: a choice as its index, unset as infinity."""
    found = []
    for p in of:
        value = getattr(struct, p.name)
        if isinstance(value, str):
            value = p.choices.index(value)
        found.append(float("inf") if value is None else float(value))
    return tuple(found)


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
