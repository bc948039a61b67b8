"""A request that goes on from a trace: which trace, where it goes on, and what is fed.

The keys `trace`, `at`, `cut` and `keep` of the request's `soft_thinking`. The trace's tokens become
the first part of the request's prompt; its concept tokens are fed there as a re-prefill feeds them
(engine/replay.py), and the radix cache knows them by the same keys.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from sglang_soft import methods, resolve, stopping
from sglang_soft.engine.cache_keys import cache_keys
from sglang_soft.params import KEY, Given, ThinkingParams, method_of
from sglang_soft.server.kept import PREFIX, KeptTraces, Tenant, UnknownTrace
from sglang_soft.stopping import keys
from sglang_soft.trace import Steps, Trace
from sglang_soft.trace.check import check_model
from sglang_soft.trace.cutting import match, segments
from sglang_soft.trace.reasons import REQUEST, THINK_END_REASONS
from sglang_soft.trace.steps import decode_offset

PLACES = ("next", "answer", "end")
_OWN = {"return_concepts", "return_rollout", "max_answer_tokens", "thinking_start"}
"""Parameters that are about one request and are not taken over from a trace."""
LARGEST_WEIGHT, LARGEST_OFFSET = 64.0, 3e4
"""Of a value of a trace that is fed; what is beyond could overflow in the model."""


class Wanted(NamedTuple):
    """What a request asks for that is no parameter of a method."""

    trace: Any = None
    at: str | None = None
    cut: int | None = None
    keep: bool = False


def split(raw: Any) -> tuple[Any, Wanted]:
    """A request's `soft_thinking` without these keys, and these keys.

    Raises:
        ValueError: a wrong value, or `at` or `cut` without a trace.
    """
    if not isinstance(raw, Mapping) or not raw.keys() & set(Wanted._fields):
        return raw, Wanted()
    wanted = Wanted(**{k: v for k, v in raw.items() if k in Wanted._fields and v is not None})
    if wanted.at not in (None, *PLACES):
        raise ValueError(f"{KEY}.at must be one of {', '.join(PLACES)}; got {wanted.at!r}.")
    if wanted.cut is not None and (type(wanted.cut) is not int or wanted.cut < 0):
        raise ValueError(f"{KEY}.cut must be a whole number >= 0; got {wanted.cut!r}.")
    if type(wanted.keep) is not bool:
        raise ValueError(f"{KEY}.keep must be true or false; got {wanted.keep!r}.")
    for key in ("at", "cut"):
        if getattr(wanted, key) is not None and wanted.trace is None:
            raise ValueError(f"{KEY}.{key} needs {KEY}.trace.")
    return {k: v for k, v in raw.items() if k not in Wanted._fields}, wanted


def read(
    wanted: Wanted, kept: KeptTraces, tenant: Tenant, max_bytes: int, max_tokens: int
) -> Trace:
    """The trace of a request, cut.

    max_bytes: the arrays of a binary form may take no more. max_tokens: the model's context.

    Raises:
        ValueError: it is broken; names what.
        UnknownTrace: nothing is kept under the handle.
    """
    value = wanted.trace
    with naming(f"{KEY}.trace: "):
        if isinstance(value, Trace):
            value.validate()
            trace = value
        elif isinstance(value, str) and value.startswith(PREFIX):
            trace = kept.get(value, tenant)
        elif isinstance(value, str):
            trace = Trace.from_base64(value, max_bytes, max_tokens)
        elif isinstance(value, Mapping | list):
            trace = Trace.from_json(value, max_tokens)
        else:
            kind = type(value).__name__
            raise ValueError(f"must be an object, base64 of a file, or a handle; got a {kind}.")
        return trace if wanted.cut is None else trace.cut(wanted.cut)


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Makes a ValueError of whatever reading a client's value raises. where: before its text."""
    try:
        yield
    except UnknownTrace as error:
        raise UnknownTrace(f"{where}{error}") from None
    except ValueError as error:
        raise ValueError(f"{where}{error}") from None
    except (TypeError, AttributeError, LookupError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"{where}it has a value of a wrong type or shape: {error}.") from None


def check(trace: Trace, model, max_k: int) -> None:
    """Raises ValueError: this server cannot feed it. model: SGLang's ModelConfig."""
    facts = {
        "vocab_size": model.vocab_size,
        "hidden_size": model.hidden_size,
        "layers": model.num_hidden_layers,
    }
    with naming(f"{KEY}.trace: "):
        check_model(trace, facts)
        if trace.method not in methods.registry():
            known = ", ".join(methods.names())
            raise ValueError(f"its method must be one of {known}; got {trace.method!r}.")
        ours, size = str(model.dtype).removeprefix("torch."), model.dtype.itemsize
        for steps in (trace.steps, trace.prompt_steps):
            if steps is not None:
                _check_steps(steps, max_k, ours, model.hidden_size * size)
        _check_ends(trace)


def _check_ends(trace: Trace) -> None:
    """What a thought ends with is fed as a token, so its step has to be that token; an open one
    ends with the trace. No request has an empty prompt."""
    if not len(trace.prompt_ids):
        raise ValueError("prompt_ids must not be empty.")
    if trace.start is None:
        return
    count = len(trace.steps)
    last = trace.start - len(trace.prompt_ids) + count
    if not trace.ended_by_think_end:
        if beyond := len(trace.output_ids) - last:
            raise ValueError(f"output_ids has {beyond} tokens after an open thought.")
        return
    ids, weights, _, offset = trace.concept(count - 1)
    token = int(trace.output_ids[last - 1])
    if ids.tolist() != [token] or weights.tolist() != [1] or (offset is not None and offset.any()):
        raise ValueError(
            f"ids[{count - 1}] must be [{token}] with weight 1: think-end is fed as itself; got "
            f"{ids.tolist()} with weights {weights.tolist()}."
        )


def _check_steps(steps: Steps, max_k: int, dtype: str, offset_bytes: int) -> None:
    if steps.k > max_k:
        raise ValueError(
            f"its k must be at most {max_k}, the slots of this server's concept tokens "
            f"(--soft-max-k); got {steps.k}."
        )
    large = np.argwhere(~(np.abs(steps.weights) <= LARGEST_WEIGHT))
    if len(large):
        step, slot = large[0].tolist()
        raise ValueError(
            f"weights[{step}][{slot}] must be in [-{LARGEST_WEIGHT:g}, {LARGEST_WEIGHT:g}]; got "
            f"{steps.weights[step, slot]:g}."
        )
    if not steps.offset_bytes:
        return
    if steps.offset_dtype != dtype or steps.offset_bytes != offset_bytes:
        raise ValueError(
            f"its embedding offsets are {steps.offset_bytes} bytes of {steps.offset_dtype}; this "
            f"server feeds {offset_bytes} bytes of {dtype}."
        )
    large = np.flatnonzero((np.abs(decode_offset(steps.offsets, dtype)) > LARGEST_OFFSET).any(1))
    if len(large):
        raise ValueError(f"embedding_offsets[{large[0]}] must be within {LARGEST_OFFSET:g}.")


def defaults(trace: Trace, max_k: int) -> dict[str, Any]:
    """Its parameters, in place of the server's default.

    Raises:
        ValueError: one is not allowed here.
    """
    names = set(methods.get(trace.method).Params.__struct_fields__) - _OWN
    values = keys.of_trace({k: v for k, v in trace.params.items() if k in names and v is not None})
    try:
        return resolve.check({"method": trace.method, **values}, max_k)
    except ValueError as error:
        raise ValueError(f"{KEY}.trace: of its params, {error}") from None


def carried(trace: Trace, params: ThinkingParams) -> tuple[float, ...]:
    """The state with which a request goes on from a trace: what of the trace's means something to
    its method, and to its stopping rule, and else their first state. params: of the request."""
    method, rule = methods.get(method_of(params)), stopping.of(params.stop)
    first = () if rule is None or rule.fused else rule.state
    state, own = tuple(trace.method_state.tolist()), 0
    if trace.method in methods.registry():
        own = len(methods.get(trace.method).state)
    of_method, of_rule = method.state, first
    if method.name == trace.method and len(state) >= own:
        of_method = state[:own]
    if keys.same_rule(params, trace.params) and len(state) == own + len(first):
        of_rule = state[own:]
    return (*of_method, *of_rule)


class Placed(NamedTuple):
    """Where a request goes on."""

    tokens: np.ndarray
    """[P] int32: what is fed before the request's own tokens, as output tokens."""
    given: Given
    thinks: bool
    """The thought is open: the next token is one of it."""
    ends: bool
    """The trace is a part of the prompt, and the request's own prompt follows."""
    outputs: int
    """Output tokens of the trace that the request's own ones are added to."""


def place(
    trace: Trace, at: str | None, think_start: tuple[int, ...], think_end: tuple[int, ...],
    closing: tuple[int, ...],
) -> Placed:  # fmt: skip
    """Where a request goes on from `trace`: at `at`, or where the trace stands.

    think_start, think_end, closing: of the request.

    Raises:
        ValueError: the trace does not get there.
    """
    if at == "end":
        return _after_all(trace)
    if at == "answer":
        trace = _closed(trace, think_end, closing)
    elif at == "next" and trace.start is None:
        raise ValueError(f"{KEY}.at=next: the trace has no thought.")
    elif at == "next" and trace.ended_by_think_end:
        raise ValueError(
            f"{KEY}.at=next: the thought of the trace has ended "
            f"({trace.thinking_finish_reason}); cut it (cut <= {trace.thinking_tokens}), or go on "
            "at its answer."
        )
    ended, count = trace.ended_by_think_end, len(trace.steps)
    waits = trace.start is None
    tail = trace.tail_step, trace.tail_reason
    if ended or list(closing) != trace.params.get("closing_ids", list(closing)):
        tail = 0, None
    if tail[0] >= len(closing) + len(think_end):
        most = len(closing) + len(think_end) - 1
        raise ValueError(f"{KEY}.trace: tail_step must be in [0, {most}]; got {tail[0]}.")
    output = trace.output_ids if waits else trace.output_ids[len(trace.output_ids) - count :]
    given = Given(
        prompt_len=len(trace.prompt_ids),
        steps=trace.steps.delta(0, trace.start),
        prompt_steps=trace.prompt_delta(),
        keys=_keys(trace.steps, trace.thinking_tokens),
        prompt_keys=_keys(trace.prompt_steps),
        thinking_finish_reason=trace.thinking_finish_reason if ended else None,
        low_entropy_steps=min(trace.low_entropy_steps, count),
        last_token=int(output[-1]) if len(output) else -1,
        method_state=tuple(trace.method_state.tolist()),
        delimiter_match=0 if ended else match(think_start if waits else think_end, output),
        tail_step=tail[0], tail_reason=tail[1],
        weight_bits=trace.steps.weight_bits,
        end_weights=trace.end_weights.astype(np.float32).tobytes() if ended else b"",
        segments=tuple(segments(trace)),
        embedding_rms=trace.model.get("embedding_rms"),
    )  # fmt: skip
    return Placed(_tokens(trace), given, not waits and not ended, False, len(trace.output_ids))


def _keys(steps: Steps | None, stop: int | None = None) -> bytes:
    return b"" if steps is None else cache_keys(steps, 0, stop).tobytes()


def _tokens(trace: Trace) -> np.ndarray:
    return np.concatenate([trace.prompt_ids, trace.output_ids])


def _closed(trace: Trace, think_end: Sequence[int], closing: Sequence[int]) -> Trace:
    """Up to think-end, which is put there where the thought is open; answer tokens are dropped."""
    if trace.start is None:
        raise ValueError(f"{KEY}.at=answer: the trace has no thought.")
    steps, output = trace.steps, trace.output_ids
    first = trace.start - len(trace.prompt_ids) + len(steps)
    if trace.ended_by_think_end:
        return trace.copy(output_ids=output[:first])
    tail = np.array([*closing, *think_end], np.int32)
    closed = steps.copy()
    _add_plain(closed, tail)
    return trace.copy(
        steps=closed, output_ids=np.concatenate([output[:first], tail]),
        thinking_finish_reason=THINK_END_REASONS[REQUEST],
    )  # fmt: skip


def _add_plain(steps: Steps, tokens: np.ndarray) -> None:
    """Each as a step of one id of weight 1: it is fed as the token itself."""
    count = len(tokens)
    ones: np.ndarray = np.ones((count, 1), np.float32)
    zeros: np.ndarray = np.zeros(count, np.float32)
    offsets: np.ndarray = np.zeros((count, steps.offset_bytes), np.uint8)
    steps.extend(tokens[:, None], ones, zeros, offsets)


def _after_all(trace: Trace) -> Placed:
    """The trace is a part of the prompt."""
    tokens, earlier, thought = _tokens(trace), trace.prompt_steps, None
    if trace.start is not None:
        thought = trace.steps.copy(slice(0, trace.thinking_tokens), weight_bits=0)
    start, block = trace.prompt_start, earlier
    if thought is not None and len(thought):
        assert trace.start is not None
        if earlier is None or trace.prompt_start is None:
            start, block = trace.start, thought
        else:
            block = earlier.copy(k=max(earlier.k, thought.k), weight_bits=0)
            _add_plain(block, tokens[trace.prompt_start + len(earlier) : trace.start])
            block.add(thought)
    given = Given(
        prompt_len=0, steps=None,
        prompt_steps=None if block is None else block.delta(0, start),
        prompt_keys=_keys(block),
        embedding_rms=trace.model.get("embedding_rms"),
    )  # fmt: skip
    return Placed(tokens, given, thinks=False, ends=True, outputs=0)
