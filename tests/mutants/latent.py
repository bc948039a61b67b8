"""Thinking in hidden states."""

import torch

from tests.mutants import mutant, replace

UNIT = "tests/unit/test_latent.py"
ONE_BATCH = "tests/engine/test_methods.py -k '{} and one_batch'"


@mutant("a hidden state is fed at the norm of an embedding", f"{UNIT} -k norm")
def hidden_states_of_any_norm() -> None:
    from sglang_soft.methods import latent_mas

    replace(latent_mas, "match_norm", lambda _: lambda hidden, norm, dtype: hidden.to(dtype))


@mutant("a request is realigned only if it asks", f"{UNIT} -k realigned")
def all_rows_realigned() -> None:
    from sglang_soft.methods.latent_mas import LatentMAS

    def make(original):
        def step(self, context):
            if context.args is not None:
                context.args = torch.ones_like(context.args)
            return original(self, context)

        return step

    replace(LatentMAS, "step", make)


@mutant("every rank realigns by the whole vocabulary", ONE_BATCH.format("tp2"))
def realigned_by_a_shard() -> None:
    from sglang_soft.engine import embedding, realignment

    def make(_):
        def of_own_shard(module, head):
            rows = zip(
                realignment.blocks(module, head.weight),
                realignment.blocks(module, module.weight),
                strict=True,
            )
            return realignment.solve(realignment.sum_of_products(rows, module.weight))

        return of_own_shard

    replace(embedding, "realignment", make)


@mutant("the realignment is made again when the weights have changed",
        "tests/engine/test_weight_updates.py -k realigned")  # fmt: skip
def old_realignment_kept() -> None:
    from sglang_soft.engine.embedding import SoftModel

    def make(original):
        def measure(self):
            old = vars(self).get("realignment")
            original(self)
            if old is not None:
                vars(self)["realignment"] = old

        return measure

    replace(SoftModel, "measure", make)


@mutant("LaTER leaves its latent steps for good", f"{UNIT} -k for_good")
def latent_steps_again() -> None:
    from sglang_soft.methods import later

    def make(original):
        def leave_latent(entropy, state, *rest):
            return original(entropy, torch.ones_like(state), *rest)

        return leave_latent

    replace(later, "leave_latent", make)


@mutant("LaTER reads the text of the most probable token",
        "tests/engine/test_methods.py -k 'default and at_a_token'")  # fmt: skip
def no_token_ends_latent_steps() -> None:
    from sglang_soft.methods import token_classes

    token_classes.CLASSES[token_classes.STOPS_LATENT] = lambda tokenizer: set()


@mutant("LEAD's gates act", ONE_BATCH.format("default"))
def gates_left_open() -> None:
    from sglang_soft.methods import swireasoning

    def make(original):
        def switch_modes(entropy, state, args, ints):
            args = args.clone()
            args[:, 9], args[:, 10] = 0.0, float("inf")
            return original(entropy, state, args, ints)

        return switch_modes

    replace(swireasoning, "switch_modes", make)
