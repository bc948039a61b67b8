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
    write_offsets,
)  # fmt: skip
from sglang_soft_kernels.layout import StepKind

from sglang_soft import methods
from sglang_soft.engine import rollout
from sglang_soft.engine.inputs import StepInputs
from sglang_soft.engine.stopping import RuleStep, joined
from sglang_soft.methods import Draw, Method, StepContext
from sglang_soft.methods.noise import Noise


class StepOutput:
    """Outcome of one step, before the tokens of rows that do not think are known.

    It is also what SGLang carries to the host (`sglang.srt.managers.auxiliary_output`): the copy is
    queued after the sampling, and `consume` runs when the sampled tokens have been committed to
    their requests and before they are streamed.
    """

    def __init__(
        self, inputs: StepInputs, record: StepRecord, ints: torch.Tensor,
        offsets: torch.Tensor | None, draw: Draw | None = None,
    ) -> None:  # fmt: skip
        self.inputs = inputs
        self.record = record
        self.ints = ints
        """[A, 28] int32: the rows' parameters and state before this step."""
        self.offsets = offsets
        """[A, H] model dtype; None: no method of the batch feeds one."""
        self.draw = draw
        """None: no request of the batch asks for it."""

    @property
    def has_offset(self) -> torch.Tensor:
        """[A] bool: rows whose next input has an offset."""
        feeding = torch.tensor(self._feeding, device=self.ints.device)
        mine = torch.isin(self.ints[:, layout.METHOD], feeding)
        return mine & (self.record.kind == StepKind.CONCEPT)

    @property
    def _feeding(self) -> list[int]:
        return [methods.number(m.name) for m in self.inputs.methods if m.feeds_offset]

    def overwrite_tokens(self, tokens: torch.Tensor) -> None:
        """Put the tokens of thinking rows into SGLang's sampled ids, [N] int, in place."""
        overwrite_tokens(self.record, tokens, self.inputs.index)

    def update_pool(self, tokens: torch.Tensor) -> None:
        """Write what the rows feed next and their new state. tokens: [N], what was emitted."""
        pool, rows = self.inputs.pool, self.inputs.rows
        update_pool(
            self.record, tokens, self.ints, rows, pool.ids, pool.weights, pool.ints,
            pool.state, pool.delimiters, self.inputs.index,
        )  # fmt: skip
        if self.offsets is not None:
            for method in self._feeding:
                write_offsets(
                    self.record, self.offsets, self.ints, rows, method, pool.with_offsets(),
                    pool.has_offset,
                )  # fmt: skip

    def copy_to_host(self, copy_tensor: Callable[[torch.Tensor], torch.Tensor]) -> "StepOutput":
        offsets = None if self.offsets is None else copy_tensor(self.offsets)
        record = self.record._replace(packed=copy_tensor(self.record.packed))
        draw = None if self.draw is None else Draw(*map(copy_tensor, self.draw))
        return StepOutput(self.inputs, record, self.ints, offsets, draw)

    def consume(self, batch, commits: Sequence) -> None:
        """Append what became visible to the traces; a step whose token was discarded leaves no
        trace."""
        record = self.record
        ids, weights, states = (x.numpy() for x in (record.ids, record.weights, record.state))
        columns = (record.kind, record.low_entropy, record.entropy, record.next_tail)
        rows = zip(self.inputs.requests, self.inputs.members, *(c.tolist() for c in columns))
        for a, (request, member, kind, low_entropy, entropy, tail) in enumerate(rows):
            commit = commits[member]
            if commit is None:
                continue
            offset = b""
            if self.offsets is not None and request.method.feeds_offset:
                offset = self.offsets[a].view(torch.uint8).numpy().tobytes()
            extra = None
            if self.draw is not None and request.params.return_rollout:
                slots = request.method.draw_slots(request.k)
                drawn, log_prob = self.draw.tokens[a, :slots], self.draw.log_prob[a : a + 1]
                extra = {"drawn": drawn.numpy(), "logprobs": log_prob.numpy()}
            request.commit(
                commit.token_ids[0],
                kind,
                ids[a],
                weights[a],
                entropy,
                low_entropy,
                states[a],
                offset,
                tail,
                extra,
            )


def concept_step(
    inputs: StepInputs, logits: torch.Tensor, hidden: torch.Tensor | None = None
) -> StepOutput:
    """Make the concept tokens of the rows that think.

    logits: [N, V] float32, after penalties, bias and grammar mask; not modified. hidden: [N, H],
    last hidden state, where a method of the batch reads it.
    """
    V, used = logits.shape[1], inputs.methods
    rows = inputs.pool.gather(inputs.rows, inputs.draws)
    ints, floats = rows.ints, rows.floats
    rules = RuleStep(inputs, rows, logits) if inputs.rules else None
    if rules is not None:
        logits = rules.logits
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
        unfiltered=min(V, inputs.k) if any(m.needs_unfiltered for m in used) else 0,
        uniforms=rows.uniforms,
    )
    if hidden is not None:
        # A copy: SGLang's tensor may be a static buffer of a captured graph, which the next replay
        # overwrites before the host has its copy.
        hidden = hidden.clone() if inputs.index is None else hidden[inputs.index]
    states = max(len(m.state) for m in used)
    stops = rule_state = record = offsets = draw = None
    if rules is not None:
        stops, rule_state = rules.stops(sample)
    if rule_state is not None:  # where the pool has it
        first = inputs.pool.columns.rule_state - inputs.pool.columns.state
        states = first + rule_state.shape[1]
    # Each method computes all rows, and writes its own ones into the record.
    for method in used:
        number = methods.number(method.name)
        context = _context(method, inputs, logits, sample, rows, hidden)
        fed = method.step(context)
        state = fed.state if rule_state is None else joined(fed.state, rule_state, first)
        record = finish_step(
            fed.ids.int(), fed.weights, fed.output_token.int(), sample.entropy, logits, ints,
            floats, rows=inputs.rows, delimiters=inputs.pool.delimiters, force_end=fed.force_end,
            stops=stops, state=state, index=inputs.index, k=inputs.k,
            states=states, into=record, method=number,
        )  # fmt: skip
        if fed.embedding_offset is not None:
            own = fed.embedding_offset.to(inputs.pool.dtype)
            if offsets is not None:
                own = torch.where((ints[:, layout.METHOD] == number)[:, None], own, offsets)
            offsets, fed = own, fed._replace(embedding_offset=own)
        if inputs.rolls_out:
            drawn = method.log_prob(context, fed)
            draw = rollout.merge(draw, drawn, method, inputs, ints, record)
    assert record is not None
    return StepOutput(inputs, record, ints, offsets, draw)


def _context(method: Method, inputs: StepInputs, logits, sample, rows, hidden) -> StepContext:
    pool = inputs.pool
    return StepContext(
        sample=sample,
        logits=lambda: logits if inputs.index is None else logits[inputs.index],
        ints=rows.ints,
        floats=rows.floats,
        args=rows.args if method.arg_names else None,
        names=method.arg_names,
        state=rows.state[:, : len(method.state)] if method.state else None,
        noise=Noise(rows.seeds, rows.ints[:, layout.THINK_STEP]) if method.stochastic else None,
        k=inputs.k,
        hidden=hidden,
        hidden_size=pool.hidden_size,
        embedding_rms=pool.embedding_rms,
        embedding_norm=pool.embedding_norm,
        dtype=pool.dtype,
        realignment=pool.realignment() if inputs.realigns(method) else None,
        token_class=lambda name: pool.token_class(name, logits.shape[1]),
    )
