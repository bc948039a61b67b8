"""What is wrong is refused by name, at the start or at the request."""

from tests.mutants import mutant, replace


@mutant("a changed signature stops the server",
        "tests/unit/test_plugin.py -k changed_signature")  # fmt: skip
def signature_unchecked() -> None:
    from sglang_soft.hooks import check

    def make(original):
        return lambda hooks: original([hook._replace(parameters=()) for hook in hooks])

    replace(check, "check_targets", make)


@mutant("a hook that SGLang did not apply stops the server",
        "tests/unit/test_plugin.py -k not_applied")  # fmt: skip
def missing_hook_unnoticed() -> None:
    from sglang_soft.hooks import check

    replace(check, "check_applied", lambda _: lambda hooks, patched: None)


@mutant("an unknown key is a 400", "tests/unit/test_resolve.py")
def unknown_key_ignored() -> None:
    from sglang_soft import resolve

    def make(original):
        def check(values, *args):
            known = {"method", *resolve._names()}
            return original({k: v for k, v in values.items() if k in known}, *args)

        return check

    replace(resolve, "check", make)


@mutant("a bool does not stand for a number", "tests/unit/test_resolve.py")
def bool_is_a_number() -> None:
    from sglang_soft.params import Parameter

    def make(original):
        def convert(self, label, value, *args):
            number = int(value) if value is True and self.kind is int else value
            return original(self, label, number, *args)

        return convert

    replace(Parameter, "convert", make)


@mutant("a trace with a wrong weight is refused", "tests/unit/test_trace.py")
def weights_unchecked() -> None:
    from sglang_soft.trace import check

    replace(check, "_check_weights", lambda _: lambda trace: None)


@mutant("a seed that is returned survives JavaScript's numbers",
        "tests/unit/test_noise.py -k parallel")  # fmt: skip
def seeds_of_64_bits() -> None:
    from sglang_soft.methods import noise

    replace(noise, "sample_seed", lambda original: lambda s, i: original(s, i) << (10 if i else 0))


@mutant("no request compiles after start", "tests/unit/test_warmup.py -k triton")
def one_width_compiled() -> None:
    from sglang_soft.engine import warmup

    replace(warmup, "_TOP_K", lambda _: (16,))
