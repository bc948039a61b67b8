from typing import Annotated

from sglang_soft.params import MAX_INT, StopParams, described
from sglang_soft.stopping.base import StopRule


class ColdStop(StopRule):
    """After `steps` confident steps in a row: entropy below `entropy`.

    The entropy is that of the whole vocabulary at the temperature of the thought, before any
    filter. The count goes on over every thinking step, and an unconfident one sets it to 0.
    """

    name = "cold_stop"
    source = "arXiv 2505.15778, section 3.3"
    fused = True

    class Params(StopParams, tag="cold_stop", kw_only=True, frozen=True):
        entropy: Annotated[
            float,
            described("Entropy in nats below which a step counts as confident; 0: off", ge=0),
        ] = 0.0
        steps: Annotated[
            int,
            described("Confident steps in a row after which think-end is forced",
                      ge=1, le=MAX_INT),
        ] = 256  # fmt: skip
