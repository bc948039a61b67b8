"""What a trace's positions were fed, as input embeddings of a Hugging Face model.

Shapes: L input positions, n steps, k slots, V vocabulary, H hidden size.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sglang_soft.trace import Trace
from sglang_soft.trace.steps import decode_offset


def fed(model: Any, trace: Trace, table: Tensor | None) -> Tensor:
    """[L, H]: of all positions but that of the last output token, differentiable in the embeddings.
    What `soft_noise` fed is a vector that was drawn, and a constant. table: of `evaluate`."""
    embedding = model.get_input_embeddings()
    weight = embedding.weight
    tokens = np.concatenate([trace.prompt_ids, trace.output_ids])[:-1]
    inputs = embedding(torch.from_numpy(tokens.astype(np.int64)).to(weight.device))
    positions = trace.concept_positions(0, len(tokens))
    if not positions:
        return inputs
    steps = trace.step_slice(positions)
    scale = float(getattr(embedding, "embed_scale", 1.0))
    if trace.method == "soft_noise":
        mixed = vectors(model, trace, table)[steps].to(weight.dtype) * scale
    else:
        ids, weights = _columns(trace, weight.device)
        # In float32, as the engine mixes, or in float64 where the model is.
        exact = torch.promote_types(weight.dtype, torch.float32)
        mixed = (embedding(ids[steps]).to(exact) * weights[steps, :, None]).sum(1)
        if trace.steps.offset_bytes:
            mixed = mixed + offsets(trace, weight.device)[steps] * scale
        mixed = mixed.to(inputs.dtype)
    return torch.cat([inputs[: positions.start], mixed, inputs[positions.stop :]])


def vectors(model: Any, trace: Trace, table: Tensor | None) -> Tensor:
    """[n, H] float32, constant: mixture plus offset of each step, in units of the table."""
    own = model.get_input_embeddings().weight if table is None else table
    ids, weights = _columns(trace, own.device)
    mixed = (own.detach()[ids].float() * weights[..., None]).sum(1)
    return mixed + offsets(trace, own.device)


def offsets(trace: Trace, device: torch.device) -> Tensor:
    """[n, H] float32"""
    raw = np.ascontiguousarray(trace.steps.offsets)
    flat = decode_offset(raw.reshape(-1), trace.steps.offset_dtype)
    return torch.from_numpy(np.array(flat).reshape(len(raw), -1)).to(device)


def _columns(trace: Trace, device: torch.device) -> tuple[Tensor, Tensor]:
    """ids [n, k] int64, weights [n, k] float32"""
    ids = torch.from_numpy(trace.ids.astype(np.int64)).to(device)
    return ids, torch.from_numpy(trace.weights.copy()).to(device)
