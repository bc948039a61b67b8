from sglang_soft.methods.base import Draw, Method, NextInput, StepContext


class CoT(Method):
    """Discrete chain of thought: one token drawn from Filter(p); the control for Cold Stop.

    Drawn from (seed, position), not from SGLang's generator, so that a retraction does not change
    it.
    """

    name = "cot"
    source = "baseline; with Cold Stop the control missing from arXiv 2505.15778"
    needs_full_filter = True
    stochastic = True

    def step(self, context: StepContext) -> NextInput:
        return context.discrete()

    def log_prob(self, context: StepContext, fed: NextInput) -> Draw:
        return context.draw()
