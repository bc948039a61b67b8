"""The index of a batch whose every row is computed."""

import torch

_identities: dict[torch.device, torch.Tensor] = {}


def identity(size: int, device: torch.device) -> torch.Tensor:
    """[size] int64: 0, 1, ... Made once for the largest size: kernels take an index always, so that
    a batch with discrete rows needs no variant of its own."""
    found = _identities.get(device)
    if found is None or len(found) < size:
        with torch.inference_mode(False):
            found = torch.arange(max(size, 1024), device=device)
        _identities[device] = found
    return found[:size]
