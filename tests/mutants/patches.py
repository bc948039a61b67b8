"""The mutants: one for each invariant that the engine's tests guard."""

import torch
from sglang_soft_kernels import layout
from sglang_soft_kernels.layout import Phase

from tests.mutants import mutant, replace

TRACES = "tests/engine/test_traces.py"
METHODS = "tests/engine/test_methods.py"
ISOLATION = "tests/engine/test_isolation.py"
UNIT = "tests/unit"


@mutant("KV of concept tokens is reachable only through them", f"{ISOLATION} -k cannot_reach")
def output_id_for_cache_key() -> None:
    from sglang_soft.engine.request import SoftRequest

    replace(SoftRequest, "write_cache_keys", lambda _: lambda self, fill_ids, rid: None)


@mutant("a retracted request replays the mixtures it was fed", f"{TRACES} -k retract-no-radix")
def nothing_replayed() -> None:
    from sglang_soft.hooks import forward_batch

    replace(forward_batch, "replay", lambda _: lambda *args: None)


@mutant("weights have one value everywhere", f"{TRACES} -k retract-no-radix")
def weights_rounded_on_replay() -> None:
    from sglang_soft.hooks import forward_batch

    def make(original):
        def replay(*args):
            embed = original(*args)
            return embed and embed._replace(weights=embed.weights.half().float())

        return replay

    replace(forward_batch, "replay", make)


@mutant("a step that the host does not know cannot be matched", f"{ISOLATION} -k last_step")
def last_step_under_its_output_id() -> None:
    from sglang_soft.engine.request import SoftRequest

    def make(original):
        def write(self, fill_ids, rid):
            before = list(fill_ids[self.committed :])
            original(self, fill_ids, rid)
            for at, token in enumerate(before, self.committed):
                fill_ids[at] = token

        return write

    replace(SoftRequest, "write_cache_keys", make)


@mutant("a discrete request in a soft request's row is decoded plainly",
        "tests/engine/test_rows.py -k row_that_ended")  # fmt: skip
def row_not_cleaned() -> None:
    from sglang_soft.engine.pool import ConceptPool

    def make(original):
        def start(self, rows, requests):
            soft = [(row, r) for row, r in zip(rows, requests) if r]
            original(self, [row for row, _ in soft], [r for _, r in soft])

        return start

    replace(ConceptPool, "start", make)


@mutant("Cold Stop acts in the thinking phase only", f"{TRACES} -k default",
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


@mutant("discrete rows keep the tokens of SGLang's own sampler", f"{TRACES} -k 'default and mixed'")
def index_ignored() -> None:
    from sglang_soft.engine import step

    def make(original):
        def overwrite_tokens(record, tokens, index=None):
            original(record, tokens[: len(record.packed)], None)

        return overwrite_tokens

    replace(step, "overwrite_tokens", make)


@mutant("a request that waits for think-start begins to think after it", f"{TRACES} -k default")
def waiting_rows_left_out() -> None:
    from sglang_soft.hooks import forward_batch

    def make(original):
        def prepare(pool, rows, requests):
            waits = [r is not None and r.phase == Phase.WAIT for r in requests]
            return original(pool, rows, [None if w else r for w, r in zip(waits, requests)])

        return prepare

    replace(forward_batch, "prepare", make)


@mutant("SGLang draws the tokens of rows that do not think", f"{UNIT}/test_sampler.py")
def nothing_drawn_next_to_a_thinker() -> None:
    from sglang_soft.hooks.sampler import SoftSampler

    def make(original):
        def sample(self, probs, info, *args):
            if self.step is not None:
                return torch.zeros(len(probs), dtype=torch.int32), None
            return original(self, probs, info, *args)

        return sample

    replace(SoftSampler, "_sample_from_probs", make)


@mutant("think-end is not forced where the logits forbid it", "tests/kernels/test_cpu.py -k finish")
def think_end_against_the_grammar() -> None:
    from sglang_soft_kernels.state import cpu

    def make(original):
        def finish_step(ids, weights, token, entropy, logits, ints, floats, **kwargs):
            allowed = torch.zeros_like(logits)
            return original(ids, weights, token, entropy, allowed, ints, floats, **kwargs)

        return finish_step

    replace(cpu, "finish_step", make)


@mutant("a row whose thought ended answers", "tests/kernels/test_cpu.py -k next_state")
def thinking_never_ends_in_the_kernel() -> None:
    from sglang_soft_kernels.state import cpu

    def make(original):
        def update_pool(record, tokens, ints, rows, ids, weights, pool_ints, *rest):
            before = pool_ints[:, layout.PHASE].clone()
            original(record, tokens, ints, rows, ids, weights, pool_ints, *rest)
            ended = pool_ints[:, layout.PHASE] == Phase.ANSWER
            pool_ints[ended, layout.PHASE] = before[ended]

        return update_pool

    replace(cpu, "update_pool", make)


@mutant("a rank adds only its own ids", "tests/kernels/test_mixture_naive.py -k ranks")
def ids_of_other_ranks() -> None:
    from sglang_soft_kernels.mixture import naive

    def make(original):
        def localize(ids, shard):
            local, here = original(ids, shard)
            return local, None if here is None else torch.ones_like(here)

        return localize

    replace(naive, "localize", make)


@mutant("one rank adds the embedding offset", f"{METHODS} -k 'all_methods and tp2'")
def offset_of_every_rank() -> None:
    from sglang_soft.engine import embedding

    def make(original):
        return lambda *args, **kwargs: original(*args, **(kwargs | {"add_offsets": True}))

    replace(embedding, "embedding_mixture", make)


@mutant("a mixture is rounded once, after the sum over ranks", f"{UNIT}/test_embedding.py")
def bf16_sum_before_the_reduce() -> None:
    from sglang_soft.engine import embedding

    def make(original):
        return lambda *args, **kwargs: original(*args, **(kwargs | {"out_dtype": None}))

    replace(embedding, "embedding_mixture", make)


@mutant("noise depends on seed and position, not on the row", f"{UNIT}/test_step.py -k each_alone")
def noise_of_the_row() -> None:
    from sglang_soft.engine import step

    replace(step, "Noise", lambda original: lambda s, at: original(s + torch.arange(len(s)), at))


@mutant("embedding offsets are replayed", f"{METHODS} -k 'all_methods and retract-no-radix'")
def offset_not_replayed() -> None:
    from sglang_soft.engine import replay

    def make(original):
        def offsets(*args):
            table, has = original(*args)
            return [table, torch.zeros_like(has)]

        return offsets

    replace(replay, "_offsets", make)


@mutant("a method's state survives a retraction", f"{METHODS} -k 'all_methods and retract'")
def method_state_lost() -> None:
    from sglang_soft.engine.request import SoftRequest, ThinkingState

    def state(self):
        found = ThinkingState.of(self.trace)
        return found._replace(method_state=torch.tensor(self.method.state).numpy())

    SoftRequest.state = property(state)


@mutant("equal mixtures with other offsets do not share KV", f"{UNIT}/test_request.py")
def offset_not_in_the_key() -> None:
    from sglang_soft.engine import request

    def make(original):
        return lambda ids, weights, offset=b"": original(ids, weights)

    replace(request, "cache_key", make)


@mutant("positions count from the first token of the prompt", f"{UNIT}/test_replay.py")
def steps_off_by_one() -> None:
    from sglang_soft.trace import Trace

    def make(original):
        def step_slice(self, positions):
            rows = original(self, positions)
            return slice(max(rows.start - 1, 0), max(rows.stop - 1, 0))

        return step_slice

    replace(Trace, "step_slice", make)


@mutant("a changed signature stops the server", f"{UNIT}/test_plugin.py")
def signature_unchecked() -> None:
    from sglang_soft.hooks import check

    replace(check, "check_targets", lambda _: lambda hooks: None)


@mutant("an unknown key is a 400", f"{UNIT}/test_resolve.py")
def unknown_key_ignored() -> None:
    from sglang_soft import resolve

    def make(original):
        def check(values, *args):
            return original({k: v for k, v in values.items() if k != "topk"}, *args)

        return check

    replace(resolve, "check", make)


@mutant("a bool does not stand for a number", f"{UNIT}/test_resolve.py")
def bool_is_a_number() -> None:
    from sglang_soft.params import Parameter

    def make(original):
        def convert(self, label, value, *args):
            number = int(value) if value is True and self.kind is int else value
            return original(self, label, number, *args)

        return convert

    replace(Parameter, "convert", make)


@mutant("no request compiles after start", f"{UNIT}/test_warmup.py -k triton")
def one_width_compiled() -> None:
    from sglang_soft.engine import warmup

    replace(warmup, "_TOP_K", lambda _: (16,))


@mutant("a trace with a wrong weight is refused", f"{UNIT}/test_trace.py")
def weights_unchecked() -> None:
    from sglang_soft.trace import check

    replace(check, "_check_weights", lambda _: lambda trace: None)


@mutant(
    "a seed that is returned survives JavaScript's numbers", f"{UNIT}/test_noise.py -k parallel"
)
def seeds_of_64_bits() -> None:
    from sglang_soft.methods import noise

    replace(noise, "sample_seed", lambda original: lambda s, i: original(s, i) << (10 if i else 0))
