"""Bits: weights on a grid, and rows that do not depend on their batch."""

from sglang_soft_kernels import layout

from tests.mutants import mutant, replace

DETERMINISTIC = "tests/engine/test_deterministic.py -k 'batch and qwen3'"


@mutant("weight_bits rounds what is mixed", "tests/engine/test_grid.py -k default",
        stops="must be multiples of 1/")  # fmt: skip
def weights_are_not_rounded() -> None:
    from sglang_soft.engine import step

    def make(original):
        def finish_step(ids, weights, token, entropy, logits, ints, floats, **kwargs):
            ints = ints.clone()
            ints[:, layout.WEIGHT_BITS] = 0
            return original(ids, weights, token, entropy, logits, ints, floats, **kwargs)

        return finish_step

    replace(step, "finish_step", make)


@mutant("a matrix product gives a row the same bits in every batch", DETERMINISTIC)
def rows_are_not_padded() -> None:
    from sglang_soft_cpu import deterministic

    replace(deterministic, "_step", lambda _: lambda b: 1)


@mutant("attention gives a row the same bits in every batch", DETERMINISTIC)
def attention_of_groups() -> None:
    from sglang_soft_cpu import attention

    class Off:
        @staticmethod
        def is_on() -> bool:
            return False

    replace(attention, "deterministic", lambda _: Off)


@mutant("each step of a trace gets its own logits", "tests/unit/test_replay.py")
def steps_get_the_logits_of_others() -> None:
    from sglang_soft.engine.request import LogitsRead

    def make(original):
        return lambda self, position, logits, hidden: original(self, position, logits[::-1], hidden)

    replace(LogitsRead, "put", make)


@mutant("company is compared in every bit of a weight", "tests/launch/test_company.py")
def company_compares_tokens_only() -> None:
    from launch.exact import company

    replace(company.Answer, "bits", lambda _: property(lambda self: self.tokens))
