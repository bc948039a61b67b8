"""The concept pool: per-request device state, indexed by row (SGLang's `req_pool_idx`).

SGLang keeps its own cross-step state the same way (`FutureMap.output_tokens_buf`), for the same
reasons: no host synchronisation, valid under the overlap schedule, readable inside a captured
decode graph, whose padding uses row 0, which no request owns. Rows are written only in stream order
with the forwards, because a freed row can be handed to a new request while an older forward is
still in flight.

Shapes: R rows, K slots. Columns of `table`: sglang_soft_kernels/layout.py.
"""

from collections.abc import Sequence

import torch
from sglang_soft_kernels.layout import ALL, INTS, Filter, Phase

from sglang_soft import methods
from sglang_soft.request import SoftRequest

_IDLE_FLOATS = (1.0, 1.0, 1.0, 0.0)
_IDLE_INTS = (1, 1, 1, -1, 1, ALL, ALL, -1, 0, int(Phase.OFF), 0, 0)


class ConceptPool:
    """Device tensors of all rows, and the host's knowledge of which rows are in soft use."""

    def __init__(
        self,
        rows: int,
        width: int,
        device: torch.device | str,
        *,
        hidden_size: int = 0,
        dtype: torch.dtype = torch.float32,
        embedding_rms: float = 1.0,
    ) -> None:
        """hidden_size, dtype: of the model's input embedding; embedding_rms: of its table."""
        self.width = width
        """K: slots of a row."""
        self.hidden_size, self.dtype, self.embedding_rms = hidden_size, dtype, embedding_rms
        self.ids = torch.zeros((rows, width), dtype=torch.int32, device=device)
        """[R, K] token ids of the row's next input."""
        self.weights = torch.zeros((rows, width), dtype=torch.float32, device=device)
        """[R, K]; weights[r, 0] == 0: the next input of row r is a plain token."""
        self.table = _table([_IDLE_INTS], [_IDLE_FLOATS]).to(device).repeat(rows, 1)
        """[R, 12 + 4] int32: `ints` and, by their bits, the float32 request parameters; a step
        gathers both at once."""
        self.ints = self.table[:, :INTS]
        """[R, 12] int32 request parameters and state."""
        every = methods.registry().values()
        self.args = torch.zeros((rows, max(1, *(len(m.fields) for m in every))), device=device)
        """[R, A] float32: parameters of the row's method."""
        self.method_state = torch.zeros(
            (rows, max(1, *(len(m.state) for m in every))), device=device
        )
        """[R, S] float32: state of the row's method."""
        self.seeds = torch.zeros(rows, dtype=torch.int64, device=device)
        self.has_vector = torch.zeros(rows, dtype=torch.bool, device=device)
        """[R]: the row's next input has a vector."""
        self.vectors: torch.Tensor | None = None
        """[R, H] model dtype; there from `with_vectors` on."""
        self.dirty: set[int] = set()
        """Rows that a soft request used last; a hard request that gets one must find it clean."""
        self._pin = torch.device(device).type == "cuda"

    def start(self, rows: Sequence[int], requests: Sequence[SoftRequest | None]) -> None:
        """Write the rows of requests that are about to be prefilled, in stream order.

        A request that was retracted while thinking restarts with the phase and counters of its
        history. A hard request (None) cleans its row.
        """
        if not rows:
            return
        floats = [_floats(r) if r else _IDLE_FLOATS for r in requests]
        ints = [_ints(r) if r else _IDLE_INTS for r in requests]
        index = self.upload(torch.tensor(rows, dtype=torch.int64))
        self.table.index_copy_(0, index, self.upload(_table(ints, floats)))
        self.weights.index_fill_(0, index, 0.0)
        self.has_vector.index_fill_(0, index, False)
        if any(r and (r.method.random or r.method.fields or r.method.state) for r in requests):
            seeds = [r.noise_seed if r else 0 for r in requests]
            args = [_padded(r.params.args if r else (), self.args.shape[1]) for r in requests]
            state = [
                _padded(r.method_state if r else (), self.method_state.shape[1]) for r in requests
            ]
            self.seeds.index_copy_(0, index, self.upload(torch.tensor(seeds, dtype=torch.int64)))
            self.args.index_copy_(0, index, self.upload(torch.tensor(args, dtype=torch.float32)))
            self.method_state.index_copy_(
                0, index, self.upload(torch.tensor(state, dtype=torch.float32))
            )
        for row, request in zip(rows, requests):
            (self.dirty.add if request else self.dirty.discard)(row)

    def gather(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Parameters and state of `rows` [B]: [B, 12] int32, [B, 4] float32."""
        table = self.table[rows]
        return table[:, :INTS], table[:, INTS:].view(torch.float32)

    def with_vectors(self) -> torch.Tensor:
        """`vectors`, made at the first call: by a method that feeds one, or before CUDA graphs are
        captured."""
        if self.vectors is None:
            shape = (len(self.ids), self.hidden_size)
            self.vectors = torch.zeros(shape, dtype=self.dtype, device=self.ids.device)
        return self.vectors

    def upload(self, tensor: torch.Tensor) -> torch.Tensor:
        """Host tensor -> device, without blocking."""
        return (tensor.pin_memory() if self._pin else tensor).to(self.ids.device, non_blocking=True)


def _table(ints: Sequence[Sequence[int]], floats: Sequence[Sequence[float]]) -> torch.Tensor:
    bits = torch.tensor(floats, dtype=torch.float32).view(torch.int32)
    return torch.cat([torch.tensor(ints, dtype=torch.int32), bits], 1)


def _padded(values: Sequence[float], width: int) -> list[float]:
    return [*values, *[0.0] * (width - len(values))]


def _floats(request: SoftRequest) -> tuple[float, ...]:
    keep = _filter(request)
    return (keep.temperature, keep.top_p, keep.min_p, request.params.cold_stop_entropy)


def _ints(request: SoftRequest) -> tuple[int, ...]:
    p, keep = request.params, _filter(request)
    bound = ALL if p.max_thinking_tokens is None else p.max_thinking_tokens
    start = -1 if p.think_start_id is None else p.think_start_id
    return (
        keep.top_k, keep.n, p.max_topk, methods.names().index(p.method), max(1, p.max_new_tokens),
        p.cold_stop_steps, bound, start, p.think_end_id,
        int(request.phase), request.low, request.thinking_tokens,
    )  # fmt: skip


def _filter(request: SoftRequest) -> Filter:
    # All of Filter(p) where the method draws from it.
    return Filter.of(
        **request.params.thinking._asdict(),
        n=ALL if request.method.draws else request.params.max_topk,
    )
