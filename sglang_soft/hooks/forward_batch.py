"""ForwardBatch: which rows are soft in this forward, and which of its input embeddings are mixtures."""

import torch

from sglang_soft.plan import EmbedPlan, ForwardPlan
from sglang_soft.pool import ConceptPool
from sglang_soft.request import Phase, SoftRequest
from sglang_soft.runner import concept_pool


def after_init_new(forward_batch, cls, batch, model_runner, **kwargs) -> None:
    """Sets `forward_batch.soft` (ForwardPlan or None) and `forward_batch.soft_embed` (EmbedPlan or None)."""
    forward_batch.soft = forward_batch.soft_embed = None
    reqs = batch.reqs
    soft = [getattr(req, "soft", None) for req in reqs]
    extend = forward_batch.forward_mode.is_extend()
    if not any(soft) and not (extend and model_runner.__dict__.get("soft_pool") and model_runner.soft_pool.dirty):
        return
    pool = concept_pool(model_runner)
    rows = forward_batch.req_pool_indices
    width = max((s.params.max_topk for s in soft if s), default=1)
    if extend:
        decoding = {id(req) for req in batch.decoding_reqs or ()}
        fresh = [i for i, req in enumerate(reqs) if id(req) not in decoding]
        _start_rows(pool, batch, soft, fresh)
        forward_batch.soft_embed = _extend_plan(pool, batch, soft, set(fresh), rows)
    elif forward_batch.forward_mode.is_decode():
        forward_batch.soft_embed = EmbedPlan(rows, pool.ids[:, :width], pool.weights[:, :width])
    if any(soft):
        top_ks = [s.params.thinking.top_k for s in soft if s and s.phase != Phase.ANSWER]
        forward_batch.soft = ForwardPlan(pool, rows, soft, width, max([0, *top_ks]))


def _start_rows(pool: ConceptPool, batch, soft: list[SoftRequest | None], fresh: list[int]) -> None:
    all_rows = batch.req_pool_indices_cpu.tolist()
    starting = [i for i in fresh if soft[i] or all_rows[i] in pool.dirty]
    pool.start([all_rows[i] for i in starting], [soft[i] for i in starting])


def _extend_plan(
    pool: ConceptPool, batch, soft: list[SoftRequest | None], fresh: set[int], rows: torch.Tensor
) -> EmbedPlan | None:
    """Mixtures of an extend forward: concept tokens that a re-prefill replays from the host's history, and decode
    rows of a mixed chunked prefill, which read the pool. None: every input is a plain token."""
    token_rows = torch.zeros(sum(batch.extend_lens), dtype=torch.int64)
    ids, weights = [], []  # replayed concept tokens; row 0 of the plan's table is the plain token
    tails = []  # batch indices of decode rows
    at = 0
    for i, (req, prefix, length) in enumerate(zip(batch.reqs, batch.prefix_lens, batch.extend_lens)):
        request = soft[i]
        if request and i in fresh:
            prompt = len(req.origin_input_ids)
            outputs = request.named_by_concept(prefix - prompt, prefix + length - prompt)
            for index, concept in zip(outputs, request.concepts(outputs)):
                ids.append(torch.from_numpy(concept.ids.copy()))
                weights.append(torch.from_numpy(concept.weights.copy()))
                token_rows[at + prompt + index - prefix] = len(ids)
        elif request:
            tails.append((at, i))
        at += length
    if not ids and not tails:
        return None

    table_ids = torch.zeros((len(ids) + 1, pool.width), dtype=torch.int32)
    table_weights = torch.zeros((len(ids) + 1, pool.width), dtype=torch.float32)
    for slot, (i, w) in enumerate(zip(ids, weights), 1):
        table_ids[slot, : len(i)], table_weights[slot, : len(w)] = i, w
    for slot, (position, _) in enumerate(tails, len(ids) + 1):
        token_rows[position] = slot
    plan_ids, plan_weights = pool.upload(table_ids), pool.upload(table_weights)
    if tails:
        tail_rows = rows[pool.upload(torch.tensor([i for _, i in tails]))]
        plan_ids = torch.cat([plan_ids, pool.ids[tail_rows]])
        plan_weights = torch.cat([plan_weights, pool.weights[tail_rows]])
    return EmbedPlan(pool.upload(token_rows), plan_ids, plan_weights)
