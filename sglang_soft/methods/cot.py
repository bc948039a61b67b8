from sglang_soft.methods.base import Method, Proposal, View


class CoT(Method):
    """Discrete chain of thought: one token drawn from Filter(p); the control that Cold Stop can be
    added to.

    Drawn from (seed, position), not from SGLang's generator, so that a retraction does not change
    it.
    """

    name = "cot"
    source = "baseline; with Cold Stop the control missing from arXiv 2505.15778"
    draws = True
    random = True

    def step(self, view: View) -> Proposal:
        return view.discrete()
