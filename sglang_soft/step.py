"""One soft step on the device: from logits to concept tokens, Cold Stop, the forced think-end and
the next state.

Source: arXiv 2505.15778, section 3 (concept tokens) and 3.3 (Cold Stop); what is fed is up to the
methods. No host synchronisation, no loop over the vocabulary or over K. Shapes: B rows of the
batch, K slots, W candidates, V vocabulary.
"""

from typing import NamedTuple

import torch
from sglang_soft_kernels import StepRecord, advance, decide, layout, merge, soft_sample
from sglang_soft_kernels.layout import Step

from sglang_soft import methods
from sglang_soft.methods import Proposal, View
from sglang_soft.methods.noise import Noise
from sglang_soft.plan import ForwardPlan


class ConceptStep(NamedTuple):
    """Outcome of one step, before the tokens of rows that do not think are known."""

    record: StepRecord
    ints: torch.Tensor
    """[B, 12] int32: the rows' parameters and state before this step."""
    vector: torch.Tensor | None
    """[B, H] model dtype; None: no method of the batch feeds one."""
    has_vector: torch.Tensor | None
    """[B] bool"""

    def merge(self, tokens: torch.Tensor) -> None:
        """Put the tokens of thinking rows into SGLang's sampled ids, [B] of any int dtype, in
        place."""
        merge(self.record, tokens)

    def advance(self, plan: ForwardPlan, tokens: torch.Tensor) -> None:
        """Write what the rows feed next and their new state. tokens: [B], the tokens that were
        really emitted."""
        pool, rows = plan.pool, plan.rows
        advance(
            self.record,
            tokens,
            self.ints,
            rows,
            pool.ids,
            pool.weights,
            pool.ints,
            pool.method_state,
        )
        if self.vector is not None:
            pool.with_vectors()[rows] = self.vector
            pool.has_vector[rows] = self.has_vector


def concept_step(
    plan: ForwardPlan, logits: torch.Tensor, hidden: torch.Tensor | None = None
) -> ConceptStep:
    """Make the concept tokens of the thinking rows.

    logits: [B, V] float32, after penalties, bias and grammar mask; not modified. hidden: [B, H],
    last hidden state, where a method of the batch reads it.
    """
    ints, floats = plan.pool.gather(plan.rows)
    V = logits.shape[1]
    sample = soft_sample(
        logits,
        floats[:, layout.TEMPERATURE],
        ints[:, layout.TOP_K],
        floats[:, layout.TOP_P],
        floats[:, layout.MIN_P],
        ints[:, layout.CANDIDATES],
        K=V if plan.candidates is None else min(V, plan.candidates),
        max_top_k=plan.max_top_k,
    )
    fed = _proposal(plan, logits, sample, floats, ints, hidden)
    record = decide(
        fed.ids,
        fed.weights,
        fed.token,
        sample.entropy,
        logits,
        ints,
        floats,
        conclude=fed.conclude,
        state=fed.state,
    )
    has_vector = None
    if fed.vector is not None:
        feeding = [methods.names().index(m.name) for m in plan.methods if m.feeds_vector]
        has_vector = _among(ints[:, layout.METHOD], feeding) & (record.kind == Step.CONCEPT)
    return ConceptStep(record, ints, fed.vector, has_vector)


def _proposal(plan: ForwardPlan, logits, sample, floats, ints, hidden) -> Proposal:
    """What each row's own method feeds: ids [B, K] int32, weights [B, K], and the rest where a
    method has it."""
    pool, rows = plan.pool, plan.rows
    common = {
        "logits": logits,
        "ids": sample.ids,
        "probs": sample.weights,
        "entropy": sample.entropy,
        "ints": ints,
        "floats": floats,
        "args": pool.args[rows] if any(m.fields for m in plan.methods) else None,
        "state": pool.method_state[rows] if plan.state_size else None,
        "noise": Noise(pool.seeds[rows], ints[:, layout.THOUGHT])
        if any(m.random for m in plan.methods)
        else None,
        "width": plan.width,
        "hidden": hidden,
        "hidden_size": pool.hidden_size,
        "embedding_rms": pool.embedding_rms,
    }
    chosen = None
    for method in plan.methods:
        proposal = _full(method.step(View(fields=method.fields, **common)), plan)
        if chosen is None:
            chosen = proposal
        else:
            mine = ints[:, layout.METHOD] == methods.names().index(method.name)
            chosen = Proposal(*(_choose(mine, new, old) for new, old in zip(proposal, chosen)))
    assert chosen is not None
    return chosen


def _full(proposal: Proposal, plan: ForwardPlan) -> Proposal:
    """The same with K slots and the state columns of the batch."""
    missing = plan.width - proposal.ids.shape[1]
    pad = torch.nn.functional.pad
    ids, weights = proposal.ids.int(), proposal.weights
    if missing:
        ids, weights = pad(ids, (0, missing)), pad(weights, (0, missing))
    state = proposal.state
    if plan.state_size and state is not None:
        state = pad(state, (0, plan.state_size - state.shape[1]))
    vector = None if proposal.vector is None else proposal.vector.to(plan.pool.dtype)
    return proposal._replace(
        ids=ids, weights=weights, token=proposal.token.int(), state=state, vector=vector
    )


def _choose(
    mine: torch.Tensor, new: torch.Tensor | None, old: torch.Tensor | None
) -> torch.Tensor | None:
    """`new` in the rows `mine` [B], `old` elsewhere; a part that a method does not have is zero."""
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
