"""The stretches of a trace that one request made each, and what each of them started from."""

from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
import torch

from sglang_soft.resolve import request_of
from sglang_soft.server.given import carried, place
from sglang_soft.trace import Trace
from sglang_soft.trace.cutting import segments, think_end
from sglang_soft.trace.reasons import REQUEST, THINK_END_REASONS

if TYPE_CHECKING:
    from sglang_soft.engine.inputs import StepInputs
    from sglang_soft.engine.pool import ConceptPool
    from sglang_soft.params import RequestParams

ROW = torch.tensor([1])
"""Of the pool, where a piece's state is."""


class Piece(NamedTuple):
    """Steps that are compared alike."""

    steps: range
    request: "RequestParams | None"
    """What made them; None: no model did. They were edited, or put there by a request for the
    answer."""
    trace: Trace
    """As it was before them, with the method, the parameters and the seed of the request."""


def pieces(trace: Trace) -> list[Piece]:
    """All steps of a trace, in order.

    Raises:
        ValueError: the trace lacks what made one of them; names what.
    """
    count, found = _made(trace), []
    own = [s for s in segments(trace) if s["step"] < count]
    if own and own[0]["step"]:
        raise ValueError(f"segments[0].step must be 0; got {own[0]['step']}.")
    stops = [*(s["step"] for s in own[1:]), count]
    for segment, stop in zip(own, stops, strict=True):
        steps, request = range(segment["step"], stop), None
        before = trace
        if not segment.get("edited"):
            made = {name: segment[name] for name in ("method", "params", "seed")}
            cut = trace.cut(steps.start)
            request = request_of(cut.copy(**made))
            state = np.asarray(carried(cut, request.params), np.float32)
            before = cut.copy(**made, method_state=state)
        found.append(Piece(steps, request, before))
    if count < len(trace.steps):
        found.append(Piece(range(count, len(trace.steps)), None, trace))
    return found


def _made(trace: Trace) -> int:
    """Steps before the end that a request for the answer put there, if one did."""
    if trace.thinking_finish_reason != THINK_END_REASONS[REQUEST]:
        return len(trace.steps)
    closing = trace.params.get("closing_ids") or ()
    return max(0, len(trace.steps) - len(closing) - len(think_end(trace)))


def start(pool: "ConceptPool", piece: Piece) -> "StepInputs":
    """Put the state that a piece starts from into the pool."""
    from sglang_soft.engine.inputs import prepare
    from sglang_soft.engine.request import SoftRequest

    assert piece.request is not None and piece.trace.start is not None
    request = piece.request
    placed = place(piece.trace, "next", request.think_start, request.think_end, request.closing)
    begun = msgspec.structs.replace(request, given=placed.given)
    requests = [SoftRequest(begun, len(placed.tokens))]
    pool.start(ROW.tolist(), requests)
    return prepare(pool, ROW, requests)
