"""ForwardBatch: which rows are soft in this forward, and which of its input embeddings are
mixtures."""

import torch
from sglang.srt.model_executor.forward_batch_info import CaptureHiddenMode

from sglang_soft.plan import EmbedPlan, plan_forward
from sglang_soft.pool import ConceptPool
from sglang_soft.request import SoftRequest
from sglang_soft.runner import concept_pool


def after_init_new(forward_batch, cls, batch, model_runner, **kwargs) -> None:
    """Sets `forward_batch.soft` (ForwardPlan or None) and `forward_batch.soft_embed` (EmbedPlan or
    None)."""
    forward_batch.soft = forward_batch.soft_embed = None
    reqs = batch.reqs
    soft = [getattr(req, "soft", None) for req in reqs]
    extend = forward_batch.forward_mode.is_extend()
    if not any(soft) and not (
        extend and model_runner.__dict__.get("soft_pool") and model_runner.soft_pool.dirty
    ):
        return
    pool = concept_pool(model_runner)
    rows = forward_batch.req_pool_indices
    plan = plan_forward(pool, rows, soft)
    if plan and plan.feeds_vector:
        pool.with_vectors()
    if extend:
        decoding = {id(req) for req in batch.decoding_reqs or ()}
        fresh = [i for i, req in enumerate(reqs) if id(req) not in decoding]
        _start_rows(pool, batch, soft, fresh)
        forward_batch.soft_embed = _extend_plan(pool, batch, soft, set(fresh), rows)
    elif plan and forward_batch.forward_mode.is_decode():
        vectors = (pool.vectors, pool.has_vector) if plan.feeds_vector else (None, None)
        forward_batch.soft_embed = EmbedPlan(
            rows, pool.ids[:, : plan.width], pool.weights[:, : plan.width], *vectors
        )
    forward_batch.soft = plan
    if plan and plan.reads_hidden:
        # A decode graph that was captured without hidden states is not used then;
        # --return-hidden-states-mode last has it captured with them.
        forward_batch.capture_hidden_mode = max(
            forward_batch.capture_hidden_mode, CaptureHiddenMode.LAST
        )


def _start_rows(pool: ConceptPool, batch, soft: list[SoftRequest | None], fresh: list[int]) -> None:
    all_rows = batch.req_pool_indices_cpu.tolist()
    starting = [i for i in fresh if soft[i] or all_rows[i] in pool.dirty]
    pool.start([all_rows[i] for i in starting], [soft[i] for i in starting])


def _extend_plan(
    pool: ConceptPool, batch, soft: list[SoftRequest | None], fresh: set[int], rows: torch.Tensor
) -> EmbedPlan | None:
    """Mixtures of an extend forward: concept tokens that a re-prefill replays from the host's
    history, and decode rows of a mixed chunked prefill, which read the pool. None: every input is a
    plain token."""
    token_rows = torch.zeros(sum(batch.extend_lens), dtype=torch.int64)
    ids, weights = [], []  # replayed concept tokens; row 0 of the plan's table is the plain token
    vectors = {}  # slot -> vector
    tails = []  # batch indices of decode rows
    at = 0
    for i, (req, prefix, length) in enumerate(
        zip(batch.reqs, batch.prefix_lens, batch.extend_lens)
    ):
        request = soft[i]
        if request and i in fresh:
            prompt = len(req.origin_input_ids)
            outputs = request.named_by_concept(prefix - prompt, prefix + length - prompt)
            for index, (concept, vector) in zip(outputs, request.concepts(outputs)):
                ids.append(torch.from_numpy(concept.ids.copy()))
                weights.append(torch.from_numpy(concept.weights.copy()))
                token_rows[at + prompt + index - prefix] = len(ids)
                if vector:
                    vectors[len(ids)] = torch.frombuffer(bytearray(vector), dtype=pool.dtype)
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
    table = [pool.upload(table_ids), pool.upload(table_weights)]
    live = [pool.ids, pool.weights]
    if pool.vectors is not None:
        table_vectors = torch.zeros((len(ids) + 1, pool.hidden_size), dtype=pool.dtype)
        has_vector = torch.zeros(len(ids) + 1, dtype=torch.bool)
        for slot, vector in vectors.items():
            table_vectors[slot], has_vector[slot] = vector, True
        table += [pool.upload(table_vectors), pool.upload(has_vector)]
        live += [pool.vectors, pool.has_vector]
    if tails:
        tail_rows = rows[pool.upload(torch.tensor([i for _, i in tails]))]
        table = [torch.cat([replayed, state[tail_rows]]) for replayed, state in zip(table, live)]
    return EmbedPlan(pool.upload(token_rows), *table)
