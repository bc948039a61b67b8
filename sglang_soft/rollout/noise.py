"""The noise of a trace, again from its seed."""

import numpy as np
import torch
from sglang_soft_kernels.noise.naive import gumbel

from sglang_soft.methods.noise import GUMBEL
from sglang_soft.trace import Trace


def gumbel_noise(trace: Trace) -> torch.Tensor:
    """What method `soft_gumbel` added to the log-probabilities of its candidates, the tokens of
    `drawn`: [n, k] float32; nan where there is none. Up to rounding w = softmax((log p + g) / t).

    Raises ValueError: the trace is of another method, or no roll-out.
    """
    drawn = trace.steps.extra.get("drawn")
    if trace.method != "soft_gumbel" or trace.seed is None or drawn is None:
        raise ValueError("the trace must be a roll-out of method soft_gumbel.")
    steps = torch.arange(len(drawn))
    lanes = torch.from_numpy(drawn.astype(np.int64))
    seeds = torch.full((len(drawn),), trace.seed, dtype=torch.int64)
    found = gumbel.naive(seeds, steps, GUMBEL, lanes.clamp(min=0))
    return torch.where(lanes >= 0, found, torch.nan)
