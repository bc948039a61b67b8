"""A trace with some of its steps exchanged for others: what an edit amounts to."""

from typing import TYPE_CHECKING, Any

import numpy as np

from sglang_soft.trace import cutting
from sglang_soft.trace.steps import Steps

if TYPE_CHECKING:
    from sglang_soft.trace.trace import Trace


def joined(
    trace: "Trace", step: int, piece: Steps, tokens: np.ndarray, resume: int | None = None,
    keep_rest: bool = False,
) -> "Trace":  # fmt: skip
    """The first `step` steps of the thought, then those of `piece`, which are edited ones.

    tokens: [n] int32, what they emit. resume: the step after those that they stand for; None: they
    stand for none. keep_rest: all of the trace from there on follows.

    Raises:
        ValueError: the thought would emit think-end.
    """
    assert trace.start is not None
    first, stop = trace.start - len(trace.prompt_ids), step + len(piece)
    steps = trace.steps.copy(slice(0, step), k=max(trace.steps.k, piece.k), weight_bits=0)
    steps.add(piece)
    outputs = [trace.output_ids[: first + step], tokens]
    after = step if resume is None else resume
    if keep_rest:
        steps.add(trace.steps.copy(slice(after, None), weight_bits=0))
        outputs.append(trace.output_ids[first + after :])
    made = trace.copy(
        steps=steps, output_ids=np.concatenate(outputs),
        segments=_marked(trace, step, stop, after if keep_rest else None),
    )  # fmt: skip
    if not keep_rest:
        own = cutting.made_by(trace, after)
        made = made.copy(thinking_finish_reason=None, tail_step=0, tail_reason=None, **own)
        made = made.copy(
            low_entropy_steps=cutting.low_entropy_steps(made, made.params, stop),
            method_state=cutting.method_state(made, stop),
        )
    thought = made.output_ids[first : first + made.thinking_tokens]
    _check_open(thought, cutting.think_end(trace))
    if not made.ended_by_think_end:
        made = made.copy(delimiter_match=cutting.match(cutting.think_end(trace), thought))
    made.validate()
    return made


def _check_open(thought: np.ndarray, end: tuple[int, ...]) -> None:
    """Raises ValueError. thought: output tokens before think-end."""
    size = len(end)
    for at in range(len(thought) - size + 1 if size else 0):
        if tuple(thought[at : at + size].tolist()) == end:
            raise ValueError(
                f"edit: step {at + size - 1} would emit think-end ({list(end)}); give another "
                "token, or cut the thought there and go on at its answer."
            )


def _marked(trace: "Trace", step: int, stop: int, resume: int | None) -> list[dict[str, Any]]:
    """`segments` where the steps [step, stop) are edited ones, and where those from `resume` on
    follow if it is not None."""
    own = cutting.segments(trace)
    marked = [s for s in own if s["step"] < step]
    if not marked or not marked[-1].get("edited"):
        marked.append({"step": step, "edited": True})
    if resume is None:
        return marked
    going_on = [s for s in own if s["step"] <= resume][-1]
    if resume < len(trace.steps) or going_on["step"] == resume:
        marked.append(going_on | {"step": stop})
    return marked + [s | {"step": s["step"] + stop - resume} for s in own if s["step"] > resume]
