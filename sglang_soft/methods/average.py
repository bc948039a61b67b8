from sglang_soft.methods.base import Method, NextInput, StepContext
from sglang_soft.params import MaxTopK, ThinkingParams


class Average(Method):
    """The unweighted mean of the k most probable tokens' embeddings.

    w = 1 / n for each of the n <= k candidates that Filter(p) leaves; output token: the most
    probable one.
    """

    name = "average"
    source = "ablation in arXiv 2505.15778"

    class Params(ThinkingParams, tag="average", kw_only=True, frozen=True):
        max_topk: MaxTopK = 5

    def step(self, context: StepContext) -> NextInput:
        ids, weights = context.top()
        used = weights > 0
        return NextInput(ids, used.float() / used.sum(1, keepdim=True), ids[:, 0])
