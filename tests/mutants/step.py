"""A step: who takes part in it, when the thought ends, and which token is emitted."""

import torch
from sglang_soft_kernels import layout
from sglang_soft_kernels.layout import Phase

from tests.mutants import mutant, replace

SAMPLER = "tests/unit/test_sampler.py"


@mutant("Cold Stop acts in the thinking phase only", "tests/engine/test_traces.py -k default",
        stops="AssertionError: thinking step in phase")  # fmt: skip
def answers_think_on() -> None:
    from sglang_soft.engine import step

    def make(original):
        def finish_step(ids, weights, token, entropy, logits, ints, floats, **kwargs):
            ints = ints.clone()
            ints[ints[:, layout.PHASE] == Phase.ANSWER, layout.PHASE] = int(Phase.THINK)
            return original(ids, weights, token, entropy, logits, ints, floats, **kwargs)

        return finish_step

    replace(step, "finish_step", make)


@mutant("discrete rows keep the tokens of SGLang's own sampler",
        "tests/engine/test_traces.py -k 'default and mixed_batch'",
        stops="a whole think-end goes on")  # fmt: skip
def index_ignored() -> None:
    from sglang_soft.engine import step

    def make(original):
        def overwrite_tokens(record, tokens, index=None):
            original(record, tokens[: len(record.packed)], None)

        return overwrite_tokens

    replace(step, "overwrite_tokens", make)


@mutant("rows that wait or answer get what SGLang draws", SAMPLER)
def rows_that_do_not_think_take_part() -> None:
    from sglang_soft.engine import step

    def make(_):
        def overwrite_tokens(record, tokens, index=None):
            rows = torch.arange(len(tokens)) if index is None else index
            tokens[rows] = record.token.to(tokens.dtype)

        return overwrite_tokens

    replace(step, "overwrite_tokens", make)


@mutant("SGLang draws the tokens of rows that do not think", SAMPLER)
def nothing_drawn_next_to_a_thinker() -> None:
    from sglang_soft.hooks.sampler import SoftSampler

    def make(original):
        def sample(self, probs, info, *args):
            if self.step is not None:
                return torch.zeros(len(probs), dtype=torch.int32), None
            return original(self, probs, info, *args)

        return sample

    replace(SoftSampler, "_sample_from_probs", make)


@mutant("logprobs are of the token that was emitted", "tests/engine/test_logprobs.py")
def logprob_of_the_drawn_token() -> None:
    from sglang.srt.layers.logprob_processor import OutputLogprobProcessor

    from sglang_soft.hooks.sampler import LogprobsOfEmitted

    stock = OutputLogprobProcessor.compute_logprobs
    replace(LogprobsOfEmitted, "compute_logprobs", lambda _: stock)


@mutant("think-end is not forced where the logits forbid it", "tests/kernels/test_cpu.py -k finish")
def think_end_against_the_grammar() -> None:
    from sglang_soft_kernels.state import cpu

    def make(original):
        def finish_step(ids, weights, token, entropy, logits, ints, floats, **kwargs):
            allowed = torch.zeros_like(logits)
            return original(ids, weights, token, entropy, allowed, ints, floats, **kwargs)

        return finish_step

    replace(cpu, "finish_step", make)


def _thinking_never_ends(original):
    def update_pool(record, tokens, ints, rows, ids, weights, pool_ints, *rest):
        before = pool_ints[:, layout.PHASE].clone()
        original(record, tokens, ints, rows, ids, weights, pool_ints, *rest)
        ended = pool_ints[:, layout.PHASE] == Phase.ANSWER
        pool_ints[ended, layout.PHASE] = before[ended]

    return update_pool


@mutant("a row whose thought ended answers", "tests/kernels/test_cpu.py -k next_state")
def thinking_never_ends() -> None:
    from sglang_soft_kernels.state import cpu

    replace(cpu, "update_pool", _thinking_never_ends)


@mutant("a kernel does what its specification does", "tests/kernels/test_interpreter.py")
def thinking_never_ends_in_the_kernel() -> None:
    from sglang_soft_kernels.state import triton

    replace(triton, "update_pool", _thinking_never_ends)


@mutant("noise depends on seed and position, not on the row",
        "tests/unit/test_step.py -k each_alone")  # fmt: skip
def noise_of_the_row() -> None:
    from sglang_soft.engine import step

    replace(step, "Noise", lambda original: lambda s, at: original(s + torch.arange(len(s)), at))


@mutant("a custom logit processor acts before the soft step",
        "tests/engine/test_fields.py -k 'forbids and custom'")  # fmt: skip
def processors_come_too_late() -> None:
    from sglang_soft.engine.step import concept_step
    from sglang_soft.hooks.sampler import SoftSampler

    def make(original):
        def _preprocess_logits(self, logits, sampling_info):
            if self._inputs is not None and self.step is None:
                self.step = concept_step(self._inputs, logits, self._hidden)
            return original(self, logits, sampling_info)

        return _preprocess_logits

    replace(SoftSampler, "_preprocess_logits", make)


@mutant("a method writes its own rows only", "tests/unit/test_step.py -k each_alone")
def rows_of_other_methods_written() -> None:
    from sglang_soft.engine import step

    def make(original):
        return lambda *args, **kwargs: original(*args, **(kwargs | {"into": None}))

    replace(step, "finish_step", make)


@mutant("no method sorts the vocabulary", "tests/unit/test_launches.py -k at_most_twelve")
def vocabulary_sorted() -> None:
    from sglang_soft.methods.cot import CoT

    def make(original):
        def step(self, context):
            context.logits.sort(1)
            return original(self, context)

        return step

    replace(CoT, "step", make)


@mutant("a row's own size cuts its concept, whatever the batch has",
        "tests/unit/test_step.py -k each_alone")  # fmt: skip
def sizes_of_the_batch() -> None:
    from sglang_soft.engine import step

    replace(step, "soft_sample", lambda soft_sample: lambda *args, sizes, **kwargs: soft_sample(
        *args, **kwargs))  # fmt: skip


@mutant("every width of the sampling kernels is compiled at start",
        "tests/unit/test_warmup.py -k triton")  # fmt: skip
def a_width_compiled_later() -> None:
    from sglang_soft.engine import warmup

    replace(warmup, "_TOP_K", lambda widths: widths[:1])
