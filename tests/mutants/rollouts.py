"""What a roll-out says of its steps."""

from tests.mutants import mutant, replace

SAME = "tests/engine/test_rollout.py -k 'default and trainer'"


@mutant("a forced step has drawn nothing", SAME)
def forced_steps_count() -> None:
    from sglang_soft_kernels.layout import StepKind

    from sglang_soft.engine import rollout

    class Kinds:
        CONCEPT, EOS, STOP_TOKEN = StepKind.CONCEPT, StepKind.EOS, StepKind.MAX_THINKING_TOKENS

    replace(rollout, "StepKind", lambda _: Kinds)


@mutant("the last weights of a thought that ends itself are kept", SAME)
def no_end_weights() -> None:
    import numpy as np

    from sglang_soft.engine import rollout

    replace(rollout, "end_weights", lambda _: lambda *args: np.zeros(0, np.float32))


@mutant(
    "a weight that float32 does not hold counts by its probability", "tests/unit/test_density.py"
)
def small_weights_are_left_out() -> None:
    from sglang_soft.methods import density

    replace(density, "LEAST", lambda _: 1e-300)


@mutant("the gradient of a log-density has mean zero", "tests/unit/test_density.py -k mean_zero")
def no_normaliser() -> None:
    from sglang_soft.rollout import formulas

    replace(formulas, "of_concrete", lambda original: lambda p, w, t: original(p, w, t + 0.1))


@mutant("a roll-out names the weights that made it", "tests/engine/test_rollout.py -k version")
def no_weight_version() -> None:
    from sglang_soft.server import answer

    replace(answer.ClientTrace, "take", _without_versions)


def _without_versions(original):
    def take(self, weights=None):
        info = original(self, weights)
        if "trace" in info:
            info["trace"].pop("versions", None)
        return info

    return take


@mutant("who does not ask gets nothing", "tests/engine/test_rollout.py -k who_does_not_ask")
def everybody_rolls_out() -> None:
    from sglang_soft.engine import rollout

    replace(rollout, "columns", lambda _: lambda m, p, k: {"logprobs": 1, "drawn": 1})
