"""Constant tensors, made once a device for the largest size."""

import torch

_identities: dict[torch.device, torch.Tensor] = {}
_ones: dict[torch.device, torch.Tensor] = {}


def identity(size: int, device: torch.device) -> torch.Tensor:
    """[size] int64: 0, 1, ... The index of a batch whose every row is computed: kernels take an
    index always, so that a batch with discrete rows needs no variant of its own."""
    found = _identities.get(device)
    if found is None or len(found) < size:
        with torch.inference_mode(False):
            found = torch.arange(max(size, 1024), device=device)
        _identities[device] = found
    return found[:size]


def ones(size: int, device: torch.device) -> torch.Tensor:
    """[size, 1] float32: the weights of rows that feed one token."""
    found = _ones.get(device)
    if found is None or len(found) < size:
        with torch.inference_mode(False):
            found = torch.ones((max(size, 1024), 1), device=device)
        _ones[device] = found
    return found[:size]
