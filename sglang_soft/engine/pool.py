"""The concept pool: per-request device state, indexed by row (SGLang's `req_pool_idx`).

SGLang keeps its own cross-step state the same way (`FutureMap.output_tokens_buf`), for the same
reasons: no host synchronisation, valid under the overlap schedule, readable inside a captured
decode graph, whose padding uses row 0, which no request owns. Rows are written only in stream order
with the forwards, because a freed row can be handed to a new request while an older forward is
still in flight.

Shapes: R rows, k slots. Columns of `table`: sglang_soft_kernels/layout.py.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from sglang_soft_kernels import gather_rows
from sglang_soft_kernels.layout import (
    ARGS,
    EOS_COLUMNS,
    INT_COLUMNS,
    SEED,
    TOP_K_OFF,
    Filter,
    Phase,
)
from sglang_soft_kernels.noise.naive import seeds_of
from sglang_soft_kernels.sequences import DELIMITER_COLUMNS, delimiter_row

from sglang_soft import methods, stopping
from sglang_soft.engine.request import SoftRequest
from sglang_soft.methods.noise import DRAW
from sglang_soft.methods.token_classes import EVERY
from sglang_soft.stopping import StopRule

_IDLE_FLOATS = (1.0, 1.0, 1.0, 0.0)
_NO_EOS = (-1,) * EOS_COLUMNS
_IDLE_INTS = (1, 1, 1, -1, 1, TOP_K_OFF, TOP_K_OFF, -1, 0, *_NO_EOS, 0, 0, 0, 0, -1)
_IDLE_INTS += (int(Phase.OFF), 0, 0, 0, 0, -1)


class Columns(NamedTuple):
    """Where the parts of a row begin whose sizes follow from the methods and rules there are."""

    rule_args: int
    state: int
    rule_state: int
    size: int

    @classmethod
    def of_registries(cls) -> "Columns":
        rules = stopping.registry().values()
        args = max(len(m.own_parameters()) for m in methods.registry().values())
        state = ARGS + args + max(len(r.own_parameters()) for r in rules)
        rule_state = state + methods.state_columns()
        size = rule_state + max(len(r.state) for r in rules)
        return cls(ARGS + args, state, rule_state, size + size % 2)  # seeds are viewed as int64


class Rows:
    """What a step knows of its rows, of the pool's table. Views, made when they are asked for: most
    methods need few of them."""

    def __init__(
        self, table: torch.Tensor, columns: Columns, uniforms: torch.Tensor | None
    ) -> None:
        self._table, self._columns = table, columns
        self.ints = table[:, :INT_COLUMNS]
        """[A, 28] int32"""
        self.floats = table[:, INT_COLUMNS:SEED].view(torch.float32)
        """[A, 4] float32"""
        self.uniforms = uniforms
        """[A, draws] float32, of stream DRAW; None: nothing is drawn."""

    @property
    def seeds(self) -> torch.Tensor:
        """[A] int64"""
        return seeds_of(self._table)

    @property
    def args(self) -> torch.Tensor:
        """[A, P] float32: parameters of the rows' methods."""
        return self._table[:, ARGS : self._columns.rule_args].view(torch.float32)

    @property
    def rule_args(self) -> torch.Tensor:
        """[A, P] float32: parameters of the rows' stopping rules."""
        return self._table[:, self._columns.rule_args : self._columns.state].view(torch.float32)

    @property
    def state(self) -> torch.Tensor:
        """[A, >= S] float32: state of the rows' methods."""
        return self._table[:, self._columns.state :].view(torch.float32)

    @property
    def rule_state(self) -> torch.Tensor:
        """[A, >= S] float32: state of the rows' stopping rules."""
        return self._table[:, self._columns.rule_state :].view(torch.float32)


class ConceptPool:
    """Device tensors of all rows, and the host's knowledge of which rows are in soft use."""

    def __init__(
        self, rows: int, k: int, device: torch.device | str, *, hidden_size: int = 0,
        dtype: torch.dtype = torch.float32, embedding_rms: float = 1.0,
        embedding_norm: float = 1.0, realignment: Callable[[], torch.Tensor] | None = None,
        token_ids: Mapping[str, Collection[int]] | None = None,
    ) -> None:  # fmt: skip
        """hidden_size, dtype: of the model's input embedding; embedding_rms, embedding_norm: of
        its table. realignment: `engine/realignment.py`, asked where a request wants it.
        token_ids: classes of tokens by name; read at the first use of a class."""
        self.k = k
        self.hidden_size, self.dtype, self.embedding_rms = hidden_size, dtype, embedding_rms
        self.embedding_norm, self._realignment = embedding_norm, realignment
        self.ids = torch.zeros((rows, k), dtype=torch.int32, device=device)
        """[R, k] token ids of the row's next input."""
        self.weights = torch.zeros((rows, k), dtype=torch.float32, device=device)
        """[R, k]; weights[r, 0] == 0: the next input of row r is a plain token."""
        self.columns = Columns.of_registries()
        self.table = self._table([None]).to(device).repeat(rows, 1)
        """[R, C] int32: `ints`, then by their bits float32 request parameters, the seed, and
        parameters and state of the row's method and stopping rule (layout.py). A step gathers them
        at once. C is even, so that the seeds can be viewed as int64."""
        self.ints = self.table[:, :INT_COLUMNS]
        """[R, 28] int32 request parameters and state."""
        self.state = self.table[:, self.columns.state :].view(torch.float32)
        """[R, >= S] float32: state of the row's method, then that of its stopping rule."""
        shape = (rows, DELIMITER_COLUMNS)
        self.delimiters = torch.zeros(shape, dtype=torch.int32, device=device)
        """[R, 96] int32: what opens and closes the row's thought; sglang_soft_kernels/sequences.py.
        """
        self.has_offset = torch.zeros(rows, dtype=torch.bool, device=device)
        """[R]: the row's next input has an embedding offset."""
        self.offsets: torch.Tensor | None = None
        """[R, H] model dtype; there from `with_offsets` on."""
        self.dirty: set[int] = set()
        """Rows that a soft request used last; a discrete request that gets one must find it
        clean."""
        self._pin = torch.device(device).type == "cuda"
        self._token_ids: Mapping[str, Collection[int]] = {} if token_ids is None else token_ids
        self._idle_args: dict[str, torch.Tensor] = {}
        self._classes: dict[tuple[tuple[str, ...], int], torch.Tensor] = {}

    def start(self, rows: Sequence[int], requests: Sequence[SoftRequest | None]) -> None:
        """Write the rows of requests that are about to be prefilled, in stream order.

        A request that was retracted starts from the state of its trace. A discrete request (None)
        cleans its row.
        """
        if not rows:
            return
        index = self.upload(torch.tensor(rows, dtype=torch.int64))
        self.table.index_copy_(0, index, self.upload(self._table(requests)))
        self.delimiters.index_copy_(0, index, self.upload(_delimiters(requests)))
        self.weights.index_fill_(0, index, 0.0)
        self.has_offset.index_fill_(0, index, False)
        for row, request in zip(rows, requests, strict=True):
            if request and request.method.feeds_offset:
                nbytes = self.hidden_size * self.dtype.itemsize
                request.trace.steps.use_offsets(nbytes, str(self.dtype).removeprefix("torch."))
            (self.dirty.add if request else self.dirty.discard)(row)

    def gather(self, rows: torch.Tensor, draws: int = 0) -> Rows:
        """Parameters and state of `rows` [A] and uniforms for `draws` draws, in one launch."""
        table, uniforms = gather_rows(self.table, rows, draws, DRAW)
        return Rows(table, self.columns, uniforms if draws else None)

    def with_offsets(self) -> torch.Tensor:
        """`offsets`, made at the first call: by a method that feeds them, or before CUDA graphs are
        captured."""
        if self.offsets is None:
            shape = (len(self.ids), self.hidden_size)
            self.offsets = torch.zeros(shape, dtype=self.dtype, device=self.ids.device)
        return self.offsets

    def realignment(self) -> torch.Tensor:
        """[H, H] float32"""
        assert self._realignment is not None, "of this model there is no realignment"
        return self._realignment()

    def token_class(self, name: str, vocabulary: int) -> torch.Tensor:
        """[V] bool: the tokens of a class; none of an unknown one. Uploaded once."""
        return self.token_classes((name,), vocabulary)[0]

    def token_classes(self, names: tuple[str, ...], vocabulary: int) -> torch.Tensor:
        """[n, V] bool: `token_class` of each."""
        if (names, vocabulary) not in self._classes:
            tables = torch.zeros((len(names), vocabulary), dtype=torch.bool, device="cpu")
            for table, name in zip(tables, names, strict=True):
                ids = range(vocabulary) if name == EVERY else self._token_ids.get(name, ())
                table[[i for i in ids if i < vocabulary]] = True
            self._classes[names, vocabulary] = self.upload(tables)
        return self._classes[names, vocabulary]

    def idle_args(self, rule: StopRule) -> torch.Tensor:
        """[1, P] float32: `StopRule.idle_args`. Uploaded once."""
        if rule.name not in self._idle_args:
            self._idle_args[rule.name] = self.upload(torch.tensor([rule.idle_args]))
        return self._idle_args[rule.name]

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

    def _table(self, requests: Sequence[SoftRequest | None]) -> torch.Tensor:
        """Rows of `table`, on the host."""
        table: np.ndarray = np.zeros((len(requests), self.columns.size), np.int32)
        floats = table.view(np.float32)
        for i, r in enumerate(requests):
            table[i, :INT_COLUMNS] = _ints(r) if r else _IDLE_INTS
            floats[i, INT_COLUMNS:SEED] = _floats(r) if r else _IDLE_FLOATS
            if r:
                table[i, SEED:ARGS] = np.array([r.noise_seed], np.int64).view(np.int32)
                state, own = r.state.method_state, len(r.method.state)
                _put(floats[i, ARGS:], r.args)
                _put(floats[i, self.columns.rule_args :], r.rule_args)
                _put(floats[i, self.columns.state :], state[:own])
                _put(floats[i, self.columns.rule_state :], state[own:])
        return torch.from_numpy(table)


def _put(row: np.ndarray, values: Sequence[float] | np.ndarray) -> None:
    row[: len(values)] = values


def _delimiters(requests: Sequence[SoftRequest | None]) -> torch.Tensor:
    """Rows of `delimiters`, on the host."""
    rows: np.ndarray = np.zeros((len(requests), DELIMITER_COLUMNS), np.int32)
    for i, soft in enumerate(requests):
        if soft:
            r = soft.request
            rows[i] = delimiter_row(r.think_start, r.think_end, r.closing)
    return torch.from_numpy(rows)


def _floats(request: SoftRequest) -> tuple[float, ...]:
    keep = _filter(request)
    return (keep.temperature, keep.top_p, keep.min_p, request.params.cold_stop_entropy)


def _ints(request: SoftRequest) -> tuple[int, ...]:
    r, p, keep, state = request.request, request.params, _filter(request), request.state
    bound = TOP_K_OFF if p.bound is None else p.bound
    start, end = r.think_start[-1] if r.think_start else -1, r.think_end[-1]
    return (
        keep.top_k, keep.num_candidates, p.max_topk, methods.number(r.method),
        max(1, r.max_new_tokens), p.cold_stop_steps, bound, start, end,
        *(*r.eos_ids, *_NO_EOS)[:EOS_COLUMNS],
        len(r.think_start), len(r.closing), len(r.closing) + len(r.think_end),
        p.weight_bits or 0, -1 if request.rule is None else stopping.number(request.rule.name),
        int(state.phase), state.low_entropy_steps, state.think_step, state.match, state.tail,
        state.last_token,
    )  # fmt: skip


def _filter(request: SoftRequest) -> Filter:
    # All of Filter(p) where the method draws from it.
    size = TOP_K_OFF if request.method.needs_full_filter else request.params.max_topk
    return Filter.of(**request.request.thinking._asdict(), num_candidates=size)
