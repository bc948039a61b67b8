from sglang_soft.fields import Field
from sglang_soft.methods.base import Method, Proposal, View, order
from sglang_soft.methods.moi import normalised_entropy
from sglang_soft.methods.thinkrouter import either


class SeLaR(Method):
    """Discrete where the model is sure; where it is not, a mixture pushed away from the most
    probable token.

    h = H(w) / log K over the K most probable tokens. Above a threshold: e + h (e - E[argmax]) with
    e their mixture, that is weights (1 + h) w, less h at the most probable token (which may be
    negative); else one token drawn from Filter(p).
    """

    name = "selar"
    source = "arXiv 2604.08299"
    fields = (
        Field("selar_threshold", float, 0.5, "[0, 1]", lambda v: 0 <= v <= 1,
              "Normalised entropy of the top K above which a step is soft (paper: 0.4-0.7)"),
    )  # fmt: skip
    defaults = {"max_topk": 3}
    draws = True
    random = True

    def step(self, view: View) -> Proposal:
        ids, weights = view.top()
        h = normalised_entropy(weights, view.max_topk)
        pushed = (1 + h[:, None]) * weights
        pushed[:, 0] -= h
        soft = Proposal(*order(ids, pushed), view.ids[:, 0])
        return either(h > view.arg("selar_threshold"), soft, view.discrete())
