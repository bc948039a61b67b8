from sglang_soft.methods.base import Method, Proposal, View


class Soft(Method):
    """The K most probable tokens, weighted by their renormalised probabilities.

    e = sum_k w_k E[id_k]; readable: the most probable token.
    """

    name = "soft"
    source = "arXiv 2505.15778"

    def step(self, view: View) -> Proposal:
        # The candidates of a row are its own K already: nothing to renormalise.
        k = min(view.width, view.ids.shape[1])
        return Proposal(view.ids[:, :k], view.probs[:, :k], view.ids[:, 0])
