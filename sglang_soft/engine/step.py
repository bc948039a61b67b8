"""One soft step on the device: from logits to concept tokens, Cold Stop, the forced think-end and
the next state; and its way to the host.

Source: arXiv 2505.15778, section 3 (concept tokens) and 3.3 (Cold Stop); what is fed is up to the
methods. No host synchronisation, no loop over the vocabulary or over k. Only rows that may think
are computed. Shapes: N rows of the batch, A rows that may think, V vocabulary.
"""

from collections.abc import Callable, Sequence

import torch
from sglang_soft_kernels import (
    StepRecord,
    finish_step,
    layout,
    overwrite_tokens,
    soft_sample,
    update_pool,
)  # fmt: skip
from sglang_soft_kernels.index import identity
from sglang_soft_kernels.layout import StepKind

from sglang_soft import methods
from sglang_soft.engine.inputs import StepInputs
from sglang_soft.methods import NextInput, StepContext
from sglang_soft.methods.noise import DRAW, Noise


class StepOutput:
    """Outcome of one step, before the tokens of rows that do not think are known.

    It is also what SGLang carries to the host (`sglang.srt.managers.auxiliary_output`): the copy is
    queued after the sampling, and `consume` runs when the sampled tokens have been committed to
    their requests and before they are streamed.
    """

    def __init__(
        self, inputs: StepInputs, record: StepRecord, ints: torch.Tensor,
        offsets: torch.Tensor | None,
    ) -> None:  # fmt: skip
        self.inputs = inputs
        self.record = record
        self.ints = ints
        """[A, 12] int32: the rows' parameters and state before this step."""
        self.offsets = offsets
        """[A, H] model dtype; None: no method of the batch feeds one."""

    @property
    def has_offset(self) -> torch.Tensor:
        """[A] bool"""
        feeding = [methods.number(m.name) for m in self.inputs.methods if m.feeds_offset]
        return _among(self.ints[:, layout.METHOD], feeding) & (self.record.kind == StepKind.CONCEPT)

    def overwrite_tokens(self, tokens: torch.Tensor) -> None:
        """Put the tokens of thinking rows into SGLang's sampled ids, [N] int, in place."""
        overwrite_tokens(self.record, tokens, self.inputs.index)

    def update_pool(self, tokens: torch.Tensor) -> None:
        """Write what the rows feed next and their new state. tokens: [N], what was emitted."""
        pool, rows = self.inputs.pool, self.inputs.rows
        update_pool(
            self.record, tokens, self.ints, rows, pool.ids, pool.weights, pool.ints,
            pool.method_state, self.inputs.index,
        )  # fmt: skip
        if self.offsets is not None:
            pool.with_offsets()[rows] = self.offsets
            pool.has_offset[rows] = self.has_offset

    def copy_to_host(self, copy_tensor: Callable[[torch.Tensor], torch.Tensor]) -> "StepOutput":
        offsets = None if self.offsets is None else copy_tensor(self.offsets)
        record = self.record._replace(packed=copy_tensor(self.record.packed))
        return StepOutput(self.inputs, record, self.ints, offsets)

    def consume(self, batch, commits: Sequence) -> None:
        """Append what became visible to the traces; a step whose token was discarded leaves no
        trace."""
        record = self.record
        ids, weights, states = (x.numpy() for x in (record.ids, record.weights, record.state))
        columns = (record.kind, record.low_entropy, record.entropy)
        rows = zip(self.inputs.requests, self.inputs.members, *(c.tolist() for c in columns))
        for a, (request, member, kind, low_entropy, entropy) in enumerate(rows):
            commit = commits[member]
            if commit is None:
                continue
            offset = b""
            if self.offsets is not None and request.method.feeds_offset:
                offset = self.offsets[a].view(torch.uint8).numpy().tobytes()
            request.commit(
                commit.token_ids[0],
                kind,
                ids[a],
                weights[a],
                entropy,
                low_entropy,
                states[a],
                offset,
            )


def concept_step(
    inputs: StepInputs, logits: torch.Tensor, hidden: torch.Tensor | None = None
) -> StepOutput:
    """Make the concept tokens of the rows that think.

    logits: [N, V] float32, after penalties, bias and grammar mask; not modified. hidden: [N, H],
    last hidden state, where a method of the batch reads it.
    """
    ints, floats = inputs.pool.gather(inputs.rows)
    V = logits.shape[1]
    unfiltered = any(m.needs_unfiltered for m in inputs.methods)
    noise = uniforms = None
    if any(m.stochastic for m in inputs.methods):
        noise = Noise(inputs.pool.seeds[inputs.rows], ints[:, layout.THINK_STEP])
        if n := inputs.draws:
            uniforms = noise.uniform(DRAW, identity(n, logits.device))
    sample = soft_sample(
        logits,
        floats[:, layout.TEMPERATURE],
        ints[:, layout.TOP_K],
        floats[:, layout.TOP_P],
        floats[:, layout.MIN_P],
        ints[:, layout.NUM_CANDIDATES],
        k=min(V, inputs.k),
        sizes=ints[:, layout.MAX_TOPK],
        top_k_bound=inputs.top_k_bound,
        index=inputs.index,
        unfiltered=min(V, inputs.k) if unfiltered else 0,
        uniforms=uniforms,
    )
    if hidden is not None:
        # A copy: SGLang's tensor may be a static buffer of a captured graph, which the next replay
        # overwrites before the host has its copy.
        hidden = hidden.clone() if inputs.index is None else hidden[inputs.index]
    fed = _next_input(inputs, logits, sample, floats, ints, noise, hidden)
    record = finish_step(
        fed.ids, fed.weights, fed.output_token, sample.entropy, logits, ints, floats,
        force_end=fed.force_end, state=fed.state, index=inputs.index,
    )  # fmt: skip
    return StepOutput(inputs, record, ints, fed.embedding_offset)


def _next_input(inputs: StepInputs, logits, sample, floats, ints, noise, hidden) -> NextInput:
    """What each row's own method feeds: ids [A, k] int32, weights [A, k], and the rest where a
    method has it."""
    pool, rows, used = inputs.pool, inputs.rows, inputs.methods
    common = {
        "sample": sample,
        "logits": lambda: logits if inputs.index is None else logits[inputs.index],
        "ints": ints,
        "floats": floats,
        "args": pool.args[rows] if any(r.args for r in inputs.requests) else None,
        "state": pool.method_state[rows] if any(m.state for m in used) else None,
        "noise": noise,
        "k": inputs.k,
        "hidden": hidden,
        "hidden_size": pool.hidden_size,
        "embedding_rms": pool.embedding_rms,
    }
    chosen = None
    for method in used:
        context = StepContext(names=method.arg_names, **common)
        proposal = _full(method.step(context), inputs)
        if chosen is None:
            chosen = proposal
        else:
            mine = ints[:, layout.METHOD] == methods.number(method.name)
            chosen = NextInput(
                *(_choose(mine, new, old) for new, old in zip(proposal, chosen, strict=True))
            )
    assert chosen is not None
    return chosen


def _full(fed: NextInput, inputs: StepInputs) -> NextInput:
    """The same with k slots and the state columns of the batch."""
    pad = torch.nn.functional.pad
    ids, weights, state = fed.ids.int(), fed.weights, fed.state
    if missing := inputs.k - ids.shape[1]:  # below 0: slots that no row uses are cut
        ids, weights = pad(ids, (0, missing)), pad(weights, (0, missing))
    if state is not None:
        widest = max(len(m.state) for m in inputs.methods)
        state = pad(state, (0, widest - state.shape[1]))
    offset = None if fed.embedding_offset is None else fed.embedding_offset.to(inputs.pool.dtype)
    return fed._replace(
        ids=ids, weights=weights, output_token=fed.output_token.int(), state=state,
        embedding_offset=offset,
    )  # fmt: skip


def _choose(
    mine: torch.Tensor, new: torch.Tensor | None, old: torch.Tensor | None
) -> torch.Tensor | None:
    """`new` in the rows `mine` [A], `old` elsewhere; a part that a method does not have is zero."""
    if new is None and old is None:
        return None
    shape = new if new is not None else old
    assert shape is not None
    zero = torch.zeros_like(shape)
    condition = mine.view(-1, *[1] * (shape.dim() - 1))
    return torch.where(condition, zero if new is None else new, zero if old is None else old)


def _among(values: torch.Tensor, wanted: list[int]) -> torch.Tensor:
    result = values == wanted[0]
    for value in wanted[1:]:
        result = result | (values == value)
    return result
