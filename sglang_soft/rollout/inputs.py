"""What a trace's positions were fed, as input embeddings of a Hugging Face model.

Shapes: L input positions, n steps, k slots, V vocabulary, H hidden size.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sglang_soft.trace import Steps, Trace
from sglang_soft.trace.steps import decode_offset


def fed(model: Any, trace: Trace, table: Tensor | None) -> Tensor:
    """[L, H]: of all positions but that of the last output token, differentiable in the embeddings.
    What `soft_noise` fed is a vector that was drawn, and a constant. table: of `evaluate`."""
    embedding = model.get_input_embeddings()
    weight = embedding.weight
    tokens = np.concatenate([trace.prompt_ids, trace.output_ids])[:-1]
    inputs = embedding(torch.from_numpy(tokens.astype(np.int64)).to(weight.device))
    parts, last = [], 0
    for positions, steps, rows in trace.fed(0, len(tokens)):
        if trace.method == "soft_noise" and steps is trace.steps:
            scale = float(getattr(embedding, "embed_scale", 1.0))
            mixed = vectors(model, trace, table)[rows].to(weight.dtype) * scale
        else:
            mixed = _mixtures(embedding, steps, rows).to(inputs.dtype)
        parts += [inputs[last : positions.start], mixed]
        last = positions.stop
    return torch.cat([*parts, inputs[last:]])


def _mixtures(embedding: Any, steps: Steps, rows: slice) -> Tensor:
    """[rows, H], differentiable in the embeddings."""
    weight = embedding.weight
    ids, weights = _columns(steps, weight.device)
    # In float32, as the engine mixes, or in float64 where the model is.
    exact = torch.promote_types(weight.dtype, torch.float32)
    mixed = (embedding(ids[rows]).to(exact) * weights[rows, :, None]).sum(1)
    if steps.offset_bytes:
        scale = float(getattr(embedding, "embed_scale", 1.0))
        mixed = mixed + offsets(steps, weight.device)[rows] * scale
    return mixed


def vectors(model: Any, trace: Trace, table: Tensor | None) -> Tensor:
    """[n, H] float32, constant: mixture plus offset of each step, in units of the table."""
    own = model.get_input_embeddings().weight if table is None else table
    ids, weights = _columns(trace.steps, own.device)
    mixed = (own.detach()[ids].float() * weights[..., None]).sum(1)
    return mixed + offsets(trace.steps, own.device)


def offsets(steps: Steps, device: torch.device) -> Tensor:
    """[n, H] float32"""
    values = decode_offset(np.ascontiguousarray(steps.offsets), steps.offset_dtype)
    return torch.from_numpy(np.array(values)).to(device)


def _columns(steps: Steps, device: torch.device) -> tuple[Tensor, Tensor]:
    """ids [n, k] int64, weights [n, k] float32"""
    ids = torch.from_numpy(steps.ids.astype(np.int64)).to(device)
    return ids, torch.from_numpy(steps.weights.copy()).to(device)
