from sglang_soft.methods.base import Method, Proposal, View


class Average(Method):
    """The unweighted mean of the K most probable tokens' embeddings.

    w_k = 1 / n over the n <= K candidates that Filter(p) leaves; readable: the most probable token.
    """

    name = "average"
    source = "ablation in arXiv 2505.15778"
    defaults = {"max_topk": 5}

    def step(self, view: View) -> Proposal:
        ids, weights = view.top()
        used = weights > 0
        return Proposal(ids, used.float() / used.sum(1, keepdim=True), ids[:, 0])
