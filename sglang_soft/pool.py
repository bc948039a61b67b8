"""The concept pool: per-request device state, indexed by row (SGLang's `req_pool_idx`).

SGLang keeps its own cross-step state the same way (`FutureMap.output_tokens_buf`), for the same reasons: no host
synchronisation, valid under the overlap schedule, readable inside a captured decode graph, whose padding uses row 0,
which no request owns. Rows are written only in stream order with the forwards, because a freed row can be handed to
a new request while an older forward is still in flight.

Shapes: R rows, K slots.
"""

from collections.abc import Sequence

import torch

from sglang_soft.request import Phase, SoftRequest

# Columns of `floats`
TEMPERATURE, TOP_P, MIN_P, COLD_ENTROPY = range(4)
# Columns of `ints`; the last three change at every step
TOP_K, WIDTH, COLD_STEPS, BOUND, THINK_START, THINK_END, PHASE, LOW, THOUGHT = range(9)
STATE = slice(PHASE, THOUGHT + 1)

_NEVER = 2**31 - 1
_IDLE_FLOATS = (1.0, 1.0, 0.0, 0.0)
_IDLE_INTS = (1, 1, _NEVER, _NEVER, -1, 0, int(Phase.OFF), 0, 0)


class ConceptPool:
    """Device tensors of all rows, and the host's knowledge of which rows are in soft use."""

    def __init__(self, rows: int, width: int, device: torch.device | str) -> None:
        self.width = width
        """K: slots of a row."""
        self.ids = torch.zeros((rows, width), dtype=torch.int32, device=device)
        """[R, K] token ids of the row's next input."""
        self.weights = torch.zeros((rows, width), dtype=torch.float32, device=device)
        """[R, K]; weights[r, 0] == 0: the next input of row r is a plain token."""
        self.floats = torch.tensor(_IDLE_FLOATS, device=device).repeat(rows, 1)
        """[R, 4] float32 request parameters."""
        self.ints = torch.tensor(_IDLE_INTS, dtype=torch.int32, device=device).repeat(rows, 1)
        """[R, 9] int32 request parameters and state."""
        self.dirty: set[int] = set()
        """Rows that a soft request used last; a hard request that gets one must find it clean."""
        self._pin = torch.device(device).type == "cuda"

    def start(self, rows: Sequence[int], requests: Sequence[SoftRequest | None]) -> None:
        """Write the rows of requests that are about to be prefilled, in stream order.

        A request that was retracted while thinking restarts with the phase and counters of its history. A hard
        request (None) cleans its row.
        """
        if not rows:
            return
        floats = [_floats(r) if r else _IDLE_FLOATS for r in requests]
        ints = [_ints(r) if r else _IDLE_INTS for r in requests]
        device = self.ids.device
        index = self._upload(torch.tensor(rows, dtype=torch.int64), device)
        self.floats.index_copy_(0, index, self._upload(torch.tensor(floats, dtype=torch.float32), device))
        self.ints.index_copy_(0, index, self._upload(torch.tensor(ints, dtype=torch.int32), device))
        self.weights.index_fill_(0, index, 0.0)
        for row, request in zip(rows, requests):
            (self.dirty.add if request else self.dirty.discard)(row)

    def upload(self, tensor: torch.Tensor) -> torch.Tensor:
        """Host tensor -> device, without blocking."""
        return self._upload(tensor, self.ids.device)

    def _upload(self, tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
        return (tensor.pin_memory() if self._pin else tensor).to(device, non_blocking=True)


def _floats(request: SoftRequest) -> tuple[float, ...]:
    p = request.params
    return (p.thinking.temperature, p.thinking.top_p, p.thinking.min_p, p.cold_stop_entropy)


def _ints(request: SoftRequest) -> tuple[int, ...]:
    p = request.params
    bound = _NEVER if p.max_thinking_tokens is None else p.max_thinking_tokens
    start = -1 if p.think_start_id is None else p.think_start_id
    return (
        min(p.thinking.top_k, _NEVER), p.max_topk, p.cold_stop_steps, bound, start, p.think_end_id,
        int(request.phase), request.low, request.thinking_tokens,
    )  # fmt: skip
