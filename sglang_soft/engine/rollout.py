"""Roll-outs: what each step drew and its log-probability, for requests that ask for it.

Shapes: A rows that may think, d tokens of a draw.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from sglang_soft_kernels import StepRecord, layout
from sglang_soft_kernels.layout import StepKind

from sglang_soft import methods
from sglang_soft.methods import Draw, Method
from sglang_soft.params import ThinkingParams
from sglang_soft.trace.steps import Rows

if TYPE_CHECKING:
    from sglang_soft.engine.inputs import StepInputs


def columns(method: Method, params: ThinkingParams, k: int) -> dict[str, int]:
    """Widths of the trace's further columns. k: slots of the request."""
    if not params.return_rollout:
        return {}
    return {"logprobs": 1, "drawn": method.draw_slots(k)}


def merge(
    into: Draw | None,
    drawn: Draw | None,
    method: Method,
    inputs: "StepInputs",
    ints: torch.Tensor,
    record: StepRecord,
) -> Draw:
    """Put what a method drew into the draw of all rows. A step that was forced has drawn nothing;
    an offset counts where it is fed. into: None: the first method; drawn: None: it draws nothing.
    """
    A, device = len(ints), ints.device
    if into is None:
        width = max(m.draw_slots(inputs.k) for m in inputs.methods)
        nothing = torch.full((A, width), -1, dtype=torch.int32, device=device)
        into = Draw(nothing, torch.zeros(A, device=device))
    if drawn is None:
        return into
    kind = record.kind
    counts = kind == StepKind.CONCEPT
    if not method.feeds_offset:
        counts = counts | (kind == StepKind.STOP_TOKEN) | (kind == StepKind.EOS)
    counts = counts & (ints[:, layout.METHOD] == methods.number(method.name))
    missing = into.tokens.shape[1] - drawn.tokens.shape[1]
    tokens = torch.nn.functional.pad(drawn.tokens, (0, missing), value=-1)
    return Draw(
        torch.where(counts[:, None], tokens, into.tokens),
        torch.where(counts, drawn.log_prob, into.log_prob),
    )


def end_weights(
    method: Method, extra: Rows | None, ids: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """`Trace.end_weights`. ids, weights: what the method made of the step, [>= k]."""
    if extra is None or not method.has_density or method.feeds_offset:
        return np.zeros(0, np.float32)
    drawn = extra["drawn"]
    if drawn[0] < 0:  # forced
        return np.zeros(0, np.float32)
    of = {int(i): w for i, w in zip(ids[::-1], weights[::-1], strict=True) if w}
    return np.array([of.get(int(i), 0) if i >= 0 else 0 for i in drawn], np.float32)
