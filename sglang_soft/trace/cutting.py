"""A trace as it was after some of its steps: what `Trace.cut` does.

All state of a thought follows from its steps, but for that of the method, which is a column
(`steps.extra["states"]`).
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from sglang_soft_kernels.sequences import MAX_DELIMITER, advance, failure

from sglang_soft.trace.reasons import FORCED

if TYPE_CHECKING:
    from sglang_soft.trace.trace import Trace


def cut(trace: "Trace", steps: int) -> "Trace":
    """See `Trace.cut`."""
    count = trace.thinking_tokens
    if type(steps) is not int or not 0 <= steps <= count:
        raise ValueError(
            f"cut must be a whole number in [0, {count}], the trace's thinking tokens; got "
            f"{steps!r}."
        )
    if trace.start is None or steps == len(trace.steps):
        return trace.copy(thinking_finish_reason=None)
    outputs = trace.output_ids[: trace.start - len(trace.prompt_ids) + steps]
    tail_step, tail_reason = tail(trace, steps)
    left = [s for s in trace.segments if s["step"] < max(steps, 1)]
    own = made_by(trace, steps)
    return trace.copy(
        steps=trace.steps.copy(slice(0, steps)),
        output_ids=outputs,
        thinking_finish_reason=None,
        end_weights=np.zeros(0, np.float32),
        low_entropy_steps=low_entropy_steps(trace, own["params"], steps),
        method_state=method_state(trace, steps),
        delimiter_match=match(think_end(trace), outputs[len(outputs) - steps :]),
        tail_step=tail_step,
        tail_reason=tail_reason,
        segments=left if len(left) > 1 or any(s.get("edited") for s in left) else [],
        method=own["method"], params=own["params"], seed=own["seed"],
    )  # fmt: skip


def segments(trace: "Trace") -> list[dict[str, Any]]:
    """`Trace.segments`, also where one request made all of it."""
    whole = {name: getattr(trace, name) for name in ("method", "params", "seed")}
    return trace.segments or [{"step": 0, **whole}]


def made_by(trace: "Trace", steps: int) -> dict[str, Any]:
    """`method`, `params` and `seed` of the request that made the last of the first `steps`."""
    whole = {"method": trace.method, "params": trace.params, "seed": trace.seed}
    before = [s for s in trace.segments if s["step"] < max(steps, 1) and not s.get("edited")]
    return {name: before[-1][name] for name in whole} if before else whole


_NOT_OF_THE_STEPS = {"return_concepts", "return_rollout", "max_new_tokens", "max_answer_tokens",
                     "thinking_start", "thinking_stop", "eos_ids", "answer_temperature",
                     "answer_top_p", "answer_top_k", "answer_min_p"}  # fmt: skip
"""Parameters of a request that do not say how its thinking steps are made."""
_READ_LENGTH = ("swireasoning",)
"""Methods whose steps depend on `max_new_tokens` as well."""


def same_segment(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two requests make thinking steps alike. one, other: `method`, `params`, `seed`."""

    def of_steps(made: dict[str, Any]) -> tuple[Any, ...]:
        params = {k: v for k, v in made["params"].items() if k not in _NOT_OF_THE_STEPS}
        rule = params.pop("stop", None)
        cold_stop = isinstance(rule, dict) and rule.get("rule") == "cold_stop"
        if rule is not None and not cold_stop:  # which has fields of its own
            params["stop"] = rule
        length = made["params"].get("max_new_tokens") if made["method"] in _READ_LENGTH else None
        return made["method"], made["seed"], length, params

    edited = one.get("edited") or other.get("edited")
    return not edited and of_steps(one) == of_steps(other)


def think_end(trace: "Trace") -> tuple[int, ...]:
    """Tokens of the trace's think-end; empty: it does not say."""
    found = trace.tokenizer.get("think_end_id")
    return (found,) if isinstance(found, int) else tuple(found or ())


def match(sequence: tuple[int, ...], output: np.ndarray) -> int:
    """Tokens of `sequence`, not all of them, that `output` ends with."""
    if not sequence:
        return 0
    borders, matched = failure(sequence), 0
    for token in output[len(output) - min(len(output), MAX_DELIMITER) :].tolist():
        matched = advance(sequence, borders, matched, token) % len(sequence)
    return matched


def low_entropy_steps(trace: "Trace", params: dict[str, Any], steps: int) -> int:
    """Cold Stop's count: the last steps whose entropy is below its threshold."""
    threshold = np.float32(params.get("cold_stop_entropy") or 0.0)
    high = np.flatnonzero(~(trace.entropy[:steps] < threshold))
    return steps - (int(high[-1]) + 1 if len(high) else 0)


def method_state(trace: "Trace", steps: int) -> np.ndarray:
    """[S] float32; empty where the method's first state is to be used."""
    states = trace.steps.extra.get("states")
    if states is None or not steps:
        return np.zeros(0, np.float32)
    state = states[steps - 1]
    if trace.segments:  # another request's state may have more columns
        state = state[: len(state) - np.isnan(state)[::-1].cumprod().sum()]
    return state.copy() if np.isfinite(state).all() else np.zeros(0, np.float32)


def tail(trace: "Trace", steps: int) -> tuple[int, str | None]:
    """`tail_step` and `tail_reason`: where a forced end stood. It began with the first of the last
    steps that feed its tokens, each with weight 1: it may begin within think-end."""
    end, reason = trace.tail_step, trace.tail_reason
    tokens = (*(trace.params.get("closing_ids") or ()), *think_end(trace))
    if trace.thinking_finish_reason in FORCED:
        end, reason = len(tokens), trace.thinking_finish_reason
    if end > len(tokens):
        raise ValueError(
            f"tail_step must be in [0, {len(tokens)}], the tokens of closing_ids and think-end; "
            f"got {end}."
        )
    count = len(trace.steps)
    for left in range(1, min(end, count) + 1):
        if count - left < steps:
            return end - left + 1, reason
        fed = trace.concept(count - left)
        if fed.ids.tolist() != [tokens[end - left]] or fed.weights[0] != 1:
            break
    return 0, None
