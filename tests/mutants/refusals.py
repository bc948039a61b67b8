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


@mutant("a server mode that cannot work is refused", "tests/unit/test_fields.py -k refused")
def flexkv_served() -> None:
    from sglang_soft.server import limits

    def make(original):
        return tuple(limit for limit in original if limit[0] != "enable_flexkv")

    replace(limits, "SERVER_LIMITS", make)


@mutant("the server's watermark is one of a request that says nothing",
        "tests/unit/test_limits.py -k watermark")  # fmt: skip
def watermark_of_the_server_unnoticed() -> None:
    from sglang_soft.server import limits

    replace(limits, "_is_watermarked", lambda original: lambda own, server: original(own, None))


@mutant("a model that looks up input ids twice is refused", "tests/unit/test_embedding.py -k twice")
def second_look_up_unnoticed() -> None:
    from sglang_soft.engine import embedding

    replace(embedding, "_reads_ids", lambda _: lambda path: False)
