from sglang_soft.fields import Field
from sglang_soft.methods import noise
from sglang_soft.methods.base import Method, Proposal, View, order, softmax


class SoftGumbel(Method):
    """Soft, with the weights disturbed by Gumbel noise and sharpened by a temperature.

    w = softmax((log w + g) / t), g ~ Gumbel(0, 1) for each token, then sorted; readable: the
    largest weight.
    """

    name = "soft_gumbel"
    source = "arXiv 2508.03440"
    fields = (
        Field("gumbel_temperature", float, 0.5, "(0, 100]", lambda v: 0 < v <= 100,
              "Temperature t of the Gumbel softmax (paper: 0.3-0.9)", ("gumbel_softmax_temperature",)),
    )  # fmt: skip
    random = True

    def step(self, view: View) -> Proposal:
        ids, weights = view.top()
        disturbed = weights.log() + view.noise.gumbel(noise.GUMBEL, ids)
        ids, weights = order(ids, softmax(disturbed / view.arg("gumbel_temperature")[:, None]))
        return Proposal(ids, weights, ids[:, 0])
