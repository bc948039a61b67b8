import torch

from sglang_soft.methods.base import Method, NextInput, StepContext


class CoconutTF(Method):
    """The last hidden state in place of an embedding, without training.

    Fed is the state after the final norm, at the position that gave the logits; output token: the
    most probable one.
    """

    name = "coconut_tf"
    source = "ablation in arXiv 2505.15778; trained original: 2412.06769"
    feeds_offset = True
    reads_hidden = True

    def step(self, context: StepContext) -> NextInput:
        ids = context.ids[:, :1]
        weights = torch.zeros_like(ids, dtype=torch.float32)
        return NextInput(ids, weights, ids[:, 0], embedding_offset=context.hidden)
