"""Log-probabilities of traces, differentiable in a model's parameters: the trainer's side of a
roll-out. Needs torch and a causal language model of Hugging Face's; imports no sglang.

    from sglang_soft.rollout import evaluate

    for found in evaluate(model, traces):  # one forward for all of them
        loss -= advantage * (found.thought.sum() + found.answer.sum())
"""

from sglang_soft.rollout.evaluate import Evaluated, answer_log_probs, evaluate, log_probs
from sglang_soft.rollout.noise import gumbel_noise

__all__ = ["Evaluated", "answer_log_probs", "evaluate", "gumbel_noise", "log_probs"]
