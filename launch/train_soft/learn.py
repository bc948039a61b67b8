"""One step of policy gradient on traces, with the group's mean reward as baseline (GRPO's
advantage, arXiv 2402.03300, without clipping: a batch is used once)."""

from collections.abc import Sequence
from statistics import fmean, pstdev
from typing import Any, NamedTuple

import torch

from launch.train_soft.rollouts import Sample
from sglang_soft.rollout import evaluate

MINIBATCH = 32
"""Traces of one forward."""


class Learned(NamedTuple):
    reward: float
    """Mean of the batch."""
    used: int
    """Samples of groups whose rewards differ."""
    apart: float
    """Largest difference of a step's log-probability, engine and trainer, relative to 1 + its
    size."""
    gradient: float
    """Norm, before it is clipped."""


def learn(
    model: Any, optimizer: torch.optim.Optimizer, groups: Sequence[Sequence[Sample]]
) -> Learned:
    """Raise the log-probability of samples that beat their group: thought and answer."""
    chosen = []
    for group in groups:
        rewards = [sample.reward for sample in group]
        if spread := pstdev(rewards):
            chosen += [(s, (s.reward - fmean(rewards)) / spread) for s in group]
    # Of like length together: less padding.
    chosen.sort(key=lambda pair: len(pair[0].trace.output_ids))
    optimizer.zero_grad()
    apart = 0.0
    for at in range(0, len(chosen), MINIBATCH):
        part = chosen[at : at + MINIBATCH]
        loss = torch.zeros((), dtype=torch.float64)
        traces = [sample.trace for sample, _ in part]
        for (sample, advantage), found in zip(part, evaluate(model, traces), strict=True):
            loss = loss - advantage * (found.thought.sum() + found.answer.sum())
            engines = torch.from_numpy(sample.trace.steps.extra["logprobs"][:, 0].copy())
            off = (found.thought.detach() - engines).abs() / (1 + engines.abs())
            apart = max(apart, float(off.max()))
        (loss / len(chosen)).backward()
    norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)) if chosen else 0.0
    if chosen:
        optimizer.step()
    rewards = [sample.reward for group in groups for sample in group]
    return Learned(fmean(rewards), len(chosen), apart, norm)
