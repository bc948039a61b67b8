import torch

from sglang_soft.methods.base import Method, Proposal, View


class CoconutTF(Method):
    """The last hidden state in place of an embedding, without training.

    Fed is the state behind the final norm, at the position that gave the logits; readable: the most
    probable token.
    """

    name = "coconut_tf"
    source = "ablation in arXiv 2505.15778; trained original: 2412.06769"
    feeds_vector = True
    reads_hidden = True

    def step(self, view: View) -> Proposal:
        ids = view.ids[:, :1]
        return Proposal(
            ids, torch.zeros_like(ids, dtype=torch.float32), ids[:, 0], vector=view.hidden
        )
