"""The concept pool: per-request device state, indexed by row (SGLang's `req_pool_idx`).

SGLang keeps its own cross-step state the same way (`FutureMap.output_tokens_buf`), for the same
reasons: no host synchronisation, valid under the overlap schedule, readable inside a captured
decode graph, whose padding uses row 0, which no request owns. Rows are written only in stream order
with the forwards, because a freed row can be handed to a new request while an older forward is
still in flight.

Shapes: R rows, k slots. Columns of `table`: sglang_soft_kernels/layout.py.
"""

from collections.abc import Sequence

import torch
from sglang_soft_kernels.layout import INT_COLUMNS, TOP_K_OFF, Filter, Phase

from sglang_soft import methods
from sglang_soft.engine.request import SoftRequest

_IDLE_FLOATS = (1.0, 1.0, 1.0, 0.0)
_IDLE_INTS = (1, 1, 1, -1, 1, TOP_K_OFF, TOP_K_OFF, -1, 0, int(Phase.OFF), 0, 0)


class ConceptPool:
    """Device tensors of all rows, and the host's knowledge of which rows are in soft use."""

    def __init__(
        self, rows: int, k: int, device: torch.device | str, *, hidden_size: int = 0,
        dtype: torch.dtype = torch.float32, embedding_rms: float = 1.0,
    ) -> None:  # fmt: skip
        """hidden_size, dtype: of the model's input embedding; embedding_rms: of its table."""
        self.k = k
        self.hidden_size, self.dtype, self.embedding_rms = hidden_size, dtype, embedding_rms
        self.ids = torch.zeros((rows, k), dtype=torch.int32, device=device)
        """[R, k] token ids of the row's next input."""
        self.weights = torch.zeros((rows, k), dtype=torch.float32, device=device)
        """[R, k]; weights[r, 0] == 0: the next input of row r is a plain token."""
        self.table = _table([_IDLE_INTS], [_IDLE_FLOATS]).to(device).repeat(rows, 1)
        """[R, 12 + 4] int32: `ints` and, by their bits, the float32 request parameters; a step
        gathers both at once."""
        self.ints = self.table[:, :INT_COLUMNS]
        """[R, 12] int32 request parameters and state."""
        every = methods.registry().values()
        widest = max(1, *(len(m.own_parameters()) for m in every))
        self.args = torch.zeros((rows, widest), device=device)
        """[R, P] float32: parameters of the row's method."""
        self.method_state = torch.zeros(
            (rows, max(1, *(len(m.state) for m in every))), device=device
        )
        """[R, S] float32: state of the row's method."""
        self.seeds = torch.zeros(rows, dtype=torch.int64, device=device)
        self.has_offset = torch.zeros(rows, dtype=torch.bool, device=device)
        """[R]: the row's next input has an embedding offset."""
        self.offsets: torch.Tensor | None = None
        """[R, H] model dtype; there from `with_offsets` on."""
        self.dirty: set[int] = set()
        """Rows that a soft request used last; a discrete request that gets one must find it
        clean."""
        self._pin = torch.device(device).type == "cuda"

    def start(self, rows: Sequence[int], requests: Sequence[SoftRequest | None]) -> None:
        """Write the rows of requests that are about to be prefilled, in stream order.

        A request that was retracted starts from the state of its trace. A discrete request (None)
        cleans its row.
        """
        if not rows:
            return
        floats = [_floats(r) if r else _IDLE_FLOATS for r in requests]
        ints = [_ints(r) if r else _IDLE_INTS for r in requests]
        index = self.upload(torch.tensor(rows, dtype=torch.int64))
        self.table.index_copy_(0, index, self.upload(_table(ints, floats)))
        self.weights.index_fill_(0, index, 0.0)
        self.has_offset.index_fill_(0, index, False)
        if any(r and (r.method.stochastic or r.args or r.method.state) for r in requests):
            args = [r.args if r else () for r in requests]
            state = [tuple(r.state.method_state) if r else () for r in requests]
            seeds = torch.tensor([r.noise_seed if r else 0 for r in requests], dtype=torch.int64)
            self.seeds.index_copy_(0, index, self.upload(seeds))
            self.args.index_copy_(0, index, self._padded(args, self.args))
            self.method_state.index_copy_(0, index, self._padded(state, self.method_state))
        for row, request in zip(rows, requests, strict=True):
            if request and request.method.feeds_offset:
                nbytes = self.hidden_size * self.dtype.itemsize
                request.trace.steps.use_offsets(nbytes, str(self.dtype).removeprefix("torch."))
            (self.dirty.add if request else self.dirty.discard)(row)

    def gather(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Parameters and state of `rows` [A]: [A, 12] int32, [A, 4] float32."""
        table = self.table[rows]
        return table[:, :INT_COLUMNS], table[:, INT_COLUMNS:].view(torch.float32)

    def with_offsets(self) -> torch.Tensor:
        """`offsets`, made at the first call: by a method that feeds them, or before CUDA graphs are
        captured."""
        if self.offsets is None:
            shape = (len(self.ids), self.hidden_size)
            self.offsets = torch.zeros(shape, dtype=self.dtype, device=self.ids.device)
        return self.offsets

    def upload(self, tensor: torch.Tensor) -> torch.Tensor:
        """Host tensor -> device, without blocking."""
        return (tensor.pin_memory() if self._pin else tensor).to(self.ids.device, non_blocking=True)

    def check_integrity(self, free_rows: Sequence[int]) -> None:
        """Assert what must hold while no forward runs. Waits for the device.

        free_rows: rows that no request owns. Row 0 is the padding of captured graphs.
        """
        assert not self.weights[0].any() and not self.has_offset[0], "row 0 holds a concept token"
        clean = torch.tensor(sorted(set(free_rows) - self.dirty), dtype=torch.int64)
        if len(clean):
            clean = clean.to(self.ids.device)
            assert not self.weights[clean, 0].any(), (
                "a row that is not marked holds a concept token"
            )

    def _padded(self, values: Sequence[Sequence[float]], like: torch.Tensor) -> torch.Tensor:
        rows = torch.zeros((len(values), like.shape[1]))
        for row, numbers in zip(rows, values, strict=True):
            row[: len(numbers)] = torch.tensor(numbers)
        return self.upload(rows)


def _table(ints: Sequence[Sequence[int]], floats: Sequence[Sequence[float]]) -> torch.Tensor:
    bits = torch.tensor(floats, dtype=torch.float32).view(torch.int32)
    return torch.cat([torch.tensor(ints, dtype=torch.int32), bits], 1)


def _floats(request: SoftRequest) -> tuple[float, ...]:
    keep = _filter(request)
    return (keep.temperature, keep.top_p, keep.min_p, request.params.cold_stop_entropy)


def _ints(request: SoftRequest) -> tuple[int, ...]:
    r, p, keep, state = request.request, request.params, _filter(request), request.state
    bound = TOP_K_OFF if p.max_thinking_tokens is None else p.max_thinking_tokens
    start = -1 if r.think_start_id is None else r.think_start_id
    return (
        keep.top_k, keep.num_candidates, p.max_topk, methods.number(r.method),
        max(1, r.max_new_tokens), p.cold_stop_steps, bound, start, r.think_end_id,
        int(state.phase), state.low_entropy_steps, state.think_step,
    )  # fmt: skip


def _filter(request: SoftRequest) -> Filter:
    # All of Filter(p) where the method draws from it.
    size = TOP_K_OFF if request.method.needs_full_filter else request.params.max_topk
    return Filter.of(**request.request.thinking._asdict(), num_candidates=size)
