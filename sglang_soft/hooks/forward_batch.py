"""ForwardBatch: put the step inputs of a forward where the model and the sampler find them."""

import torch
from sglang.srt.model_executor.forward_batch_info import CaptureHiddenMode

from sglang_soft.engine.inputs import StepInputs, decode_embed, prepare
from sglang_soft.engine.pool import ConceptPool
from sglang_soft.engine.replay import Span, readings, replay


def after_init_new(forward_batch, cls, batch, model_runner, **kwargs) -> None:
    """Sets `forward_batch.sampling_info.soft` where a soft request takes part."""
    soft = getattr(model_runner, "soft", None)
    if soft is not None and soft.has_pool and soft.pool.dirty:
        clean_beam_rows(soft.pool, batch)
    requests = [getattr(req, "soft", None) for req in batch.reqs]
    extend = forward_batch.forward_mode.is_extend()
    dirty = extend and soft is not None and soft.has_pool and soft.pool.dirty
    if soft is None or not (any(requests) or dirty):
        return
    # A beam search appends rows of its own to the batch's.
    rows = forward_batch.req_pool_indices[: len(requests)]
    inputs = prepare(soft.pool, rows, requests)
    if extend:
        _extend(inputs, forward_batch, batch, requests, rows)
    elif forward_batch.forward_mode.is_decode():
        inputs.embed = decode_embed(inputs, rows)
    if inputs.reads_hidden:
        mode = max(forward_batch.capture_hidden_mode, CaptureHiddenMode.LAST)
        forward_batch.capture_hidden_mode = mode
    forward_batch.sampling_info.soft = inputs


def clean_beam_rows(pool: ConceptPool, batch) -> None:
    """A beam search takes rows for its members, after those of the requests. What a soft request
    left in them, a captured graph would feed to the beam."""
    members = batch.req_pool_indices_cpu[len(batch.reqs) :].tolist()
    left = sorted(pool.dirty.intersection(members))
    pool.start(left, [None] * len(left))


def _extend(inputs: StepInputs, forward_batch, batch, requests: list, rows: torch.Tensor) -> None:
    decoding = {id(req) for req in batch.decoding_reqs or ()}
    decodes = [id(req) in decoding for req in batch.reqs]
    pool_rows = batch.req_pool_indices_cpu.tolist()
    starting = [
        i for i, request in enumerate(requests)
        if not decodes[i] and (request or pool_rows[i] in inputs.pool.dirty)
    ]  # fmt: skip
    inputs.pool.start([pool_rows[i] for i in starting], [requests[i] for i in starting])
    spans = list(map(Span, requests, batch.prefix_lens, batch.extend_lens, decodes))
    inputs.embed = replay(inputs.pool, spans, rows)
    inputs.readings = readings(spans)
    if inputs.reads_hidden:
        inputs.last_positions = torch.cumsum(forward_batch.extend_seq_lens, 0) - 1
