"""What the methods feed, and published parameters."""

from tests.mutants import mutant, replace

ONE_BATCH = "tests/engine/test_methods.py -k 'default and one_batch'"


@mutant("math tokens are fed alone", ONE_BATCH)
def math_tokens_mixed() -> None:
    from sglang_soft.methods import token_classes

    token_classes.CLASSES[token_classes.MATH] = lambda tokenizer: set()


@mutant("the C-th switch of SwiReasoning is its last", ONE_BATCH)
def one_switch_more() -> None:
    from sglang_soft.methods import swireasoning

    def make(original):
        def switch_modes(entropy, state, args, ints):
            args = args.clone()
            args[:, 3] += 1
            return original(entropy, state, args, ints)

        return switch_modes

    replace(swireasoning, "switch_modes", make)


@mutant("a value next to a preset wins", "tests/unit/test_presets.py -k win")
def preset_wins() -> None:
    from sglang_soft import presets, resolve

    def make(original):
        def check(values, *args):
            found = original(values, *args)
            return found | (presets.params_of(values["preset"]) if values.get("preset") else {})

        return check

    replace(resolve, "check", make)
