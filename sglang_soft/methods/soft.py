from sglang_soft.methods.base import Method, NextInput, StepContext


class Soft(Method):
    """The k most probable tokens, weighted by their renormalised probabilities.

    e = sum_i w_i E[id_i]; output token: the most probable one.
    """

    name = "soft"
    source = "arXiv 2505.15778"

    def step(self, context: StepContext) -> NextInput:
        return NextInput(context.ids, context.probs, context.ids[:, 0])
