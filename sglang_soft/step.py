"""One soft step on the device: from logits to concept tokens, Cold Stop, the forced think-end and the next state.

Source: arXiv 2505.15778, section 3 (concept tokens) and 3.3 (Cold Stop); what is fed is up to the methods. No host
synchronisation, no loop over the vocabulary or over K. Shapes: B rows of the batch, K slots, W candidates, V
vocabulary.
"""

from typing import NamedTuple

import torch
from sglang_soft_kernels import soft_sample

from sglang_soft import methods
from sglang_soft import pool as columns
from sglang_soft.methods import Proposal, View
from sglang_soft.methods.noise import Noise
from sglang_soft.plan import ForwardPlan
from sglang_soft.pool import STATE, ConceptPool
from sglang_soft.request import Phase, Step


class ConceptStep(NamedTuple):
    """Outcome of one step, before the tokens of rows that do not think are known."""

    thinking: torch.Tensor
    """[B] bool: rows in the thinking phase; the others keep the token that SGLang's sampler drew."""
    token: torch.Tensor
    """[B] int32: the token that a thinking row emits (readable token, or think-end)."""
    kind: torch.Tensor
    """[B] int32: `request.Step`."""
    ids: torch.Tensor
    """[B, K] int32"""
    weights: torch.Tensor
    """[B, K] float32; one-hot where the step emits think-end."""
    entropy: torch.Tensor
    """[B] float32, nats"""
    low: torch.Tensor
    """[B] int32: Cold Stop's count after this step."""
    ints: torch.Tensor
    """[B, 12] int32: the rows' parameters and state before this step (columns: pool.py)."""
    method_state: torch.Tensor | None
    """[B, S] float32: state of the rows' methods behind this step; None: no method of the batch has any."""
    vector: torch.Tensor | None
    """[B, H] model dtype; None: no method of the batch feeds one."""
    has_vector: torch.Tensor | None
    """[B] bool"""

    def merge(self, tokens: torch.Tensor) -> None:
        """Put the tokens of thinking rows into SGLang's sampled ids, [B] of any int dtype, in place."""
        tokens.copy_(torch.where(self.thinking, self.token.to(tokens.dtype), tokens))


def concept_step(plan: ForwardPlan, logits: torch.Tensor, hidden: torch.Tensor | None = None) -> ConceptStep:
    """Make the concept tokens of the thinking rows.

    logits: [B, V] float32, after penalties, bias and grammar mask; not modified. hidden: [B, H], last hidden state,
    where a method of the batch reads it.
    """
    pool, rows = plan.pool, plan.rows
    floats, ints = pool.floats[rows], pool.ints[rows]
    V = logits.shape[1]
    sample = soft_sample(
        logits,
        floats[:, columns.TEMPERATURE],
        ints[:, columns.TOP_K],
        floats[:, columns.TOP_P],
        floats[:, columns.MIN_P],
        ints[:, columns.CANDIDATES],
        K=V if plan.candidates is None else min(V, plan.candidates),
        max_top_k=plan.max_top_k,
    )
    fed = _proposal(plan, logits, sample, floats, ints, hidden)
    think_end = ints[:, columns.THINK_END]
    thinking = ints[:, columns.PHASE] == Phase.THINK
    low = torch.where(sample.entropy < floats[:, columns.COLD_ENTROPY], ints[:, columns.LOW] + 1, 0)

    natural = fed.token == think_end
    # A grammar or a bias may forbid think-end here; it is then forced at the first step that allows it.
    open_ = ~natural & (logits.gather(1, think_end.long()[:, None])[:, 0] > float("-inf"))
    cold = (low >= ints[:, columns.COLD_STEPS]) & open_
    bound = (ints[:, columns.THOUGHT] >= ints[:, columns.BOUND]) & open_ & ~cold
    kind = Step.CONCEPT + natural.int() + 2 * cold.int() + 3 * bound.int()
    ended = natural | cold | bound
    if fed.conclude is not None:
        concluded = fed.conclude & open_
        kind = torch.where(concluded, int(Step.METHOD), kind)
        ended = ended | concluded

    one_hot = torch.zeros_like(fed.weights)
    one_hot[:, 0] = 1.0
    has_vector = None
    if fed.vector is not None:
        feeding = [methods.names().index(m.name) for m in plan.methods if m.feeds_vector]
        has_vector = _among(ints[:, columns.METHOD], feeding) & thinking & ~ended
    return ConceptStep(
        thinking=thinking,
        token=torch.where(ended, think_end, fed.token),
        kind=torch.where(thinking, kind, int(Step.PLAIN)),
        ids=torch.where(ended[:, None], think_end[:, None], fed.ids),
        weights=torch.where(ended[:, None], one_hot, fed.weights),
        entropy=sample.entropy,
        low=low,
        ints=ints,
        method_state=fed.state,
        vector=fed.vector,
        has_vector=has_vector,
    )


def _proposal(plan: ForwardPlan, logits, sample, floats, ints, hidden) -> Proposal:
    """What each row's own method feeds: ids [B, K] int32, weights [B, K], and the rest where a method has it."""
    pool, rows = plan.pool, plan.rows
    stateful = plan.state_size > 0
    args = pool.args[rows] if any(m.fields for m in plan.methods) else None
    common = {
        "logits": logits,
        "ids": sample.ids,
        "probs": sample.weights,
        "entropy": sample.entropy,
        "temperature": floats[:, columns.TEMPERATURE],
        "ints": {
            "max_topk": ints[:, columns.MAX_TOPK],
            "position": ints[:, columns.THOUGHT],
            "think_start": ints[:, columns.THINK_START],
            "think_end": ints[:, columns.THINK_END],
            "horizon": ints[:, columns.HORIZON],
        },
        "state": pool.method_state[rows] if stateful else None,
        "noise": Noise(pool.seeds[rows], ints[:, columns.THOUGHT]) if any(m.random for m in plan.methods) else None,
        "width": plan.width,
        "hidden": hidden,
        "hidden_size": pool.hidden_size,
        "embedding_rms": pool.embedding_rms,
    }
    chosen = None
    for method in plan.methods:
        own = {f.name: args[:, i] for i, f in enumerate(method.fields)} if args is not None else {}
        proposal = _full(method.step(View(args=own, **common)), plan)
        if chosen is None:
            chosen = proposal
        else:
            mine = ints[:, columns.METHOD] == methods.names().index(method.name)
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
    return proposal._replace(ids=ids, weights=weights, token=proposal.token.int(), state=state, vector=vector)


def _choose(mine: torch.Tensor, new: torch.Tensor | None, old: torch.Tensor | None) -> torch.Tensor | None:
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


def advance(pool: ConceptPool, rows: torch.Tensor, step: ConceptStep, tokens: torch.Tensor) -> None:
    """Write what the rows feed next and their new state. tokens: [B], the tokens that were really emitted."""
    ints = step.ints
    concept = step.kind == Step.CONCEPT
    width = step.ids.shape[1]  # slots beyond a row's own carry no weight since `ConceptPool.start`
    pool.ids[rows, :width] = step.ids
    # Think-end and every token outside thinking are fed as plain tokens: their rows carry no weight.
    pool.weights[rows, :width] = torch.where(concept[:, None], step.weights, 0.0)
    if step.vector is not None:
        pool.with_vectors()[rows] = step.vector
        pool.has_vector[rows] = step.has_vector
    if step.method_state is not None:
        size = step.method_state.shape[1]
        before = pool.method_state[rows, :size]
        pool.method_state[rows, :size] = torch.where(step.thinking[:, None], step.method_state, before)

    phase = ints[:, columns.PHASE]
    starts = (phase == Phase.WAIT) & (tokens == ints[:, columns.THINK_START])
    ends = step.thinking & ~concept
    phase = torch.where(starts, int(Phase.THINK), torch.where(ends, int(Phase.ANSWER), phase))
    low = torch.where(step.thinking, step.low, ints[:, columns.LOW])
    pool.ints[rows, STATE] = torch.stack([phase, low, ints[:, columns.THOUGHT] + concept.int()], 1)
