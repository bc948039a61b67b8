from typing import Annotated

from sglang_soft.params import MAX_INT, StopParams, described
from sglang_soft.stopping.base import StopRule


class Budget(StopRule):
    """After `tokens` thinking tokens: the control of every other rule.

    The same as `max_thinking_tokens`; of both the smaller counts.
    """

    name = "budget"
    source = "s1, arXiv 2501.19393"
    fused = True

    class Params(StopParams, tag="budget", kw_only=True, frozen=True):
        tokens: Annotated[
            int,
            described("Thinking tokens, closing text included, after which think-end is forced",
                      ge=0, le=MAX_INT),
        ]  # fmt: skip

        @property
        def bound(self) -> int | None:
            return self.tokens
