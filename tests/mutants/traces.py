"""What a client may write into a trace cannot be more than the engine can be in."""

from tests.mutants import mutant, replace


@mutant("a forced end is one that the engine can be in",
        "tests/unit/test_given_places.py -k no_step_of_the_engine")  # fmt: skip
def any_tail_reason() -> None:
    from sglang_soft.trace import check
    from sglang_soft.trace.reasons import THINK_END_REASONS

    replace(check, "FORCED", lambda _: tuple(THINK_END_REASONS.values()))


@mutant(
    "think-end is fed as itself", "tests/unit/test_given_checks.py -k 'fed_as_itself or ends_the'"
)
def ends_unchecked() -> None:
    from sglang_soft.server import given

    replace(given, "_check_ends", lambda _: lambda trace: None)


@mutant("a trace that is too long is refused before it is read",
        "tests/unit/test_given_checks.py -k context_bounds")  # fmt: skip
def lengths_unchecked() -> None:
    from sglang_soft.trace import codec

    replace(codec, "check_lengths", lambda _: lambda parts, most: None)


@mutant("weights of two grids share no column", "tests/unit/test_given_places.py -k another_grid")
def first_grid_kept() -> None:
    from sglang_soft.trace import Steps

    def make(original):
        return classmethod(lambda cls, delta, k, bits=0: original(delta, k, bits or 8))

    replace(Steps, "of", make)


@mutant("a kept trace is its tenant's", "tests/unit/test_kept.py -k same_tenant")
def tenants_ignored() -> None:
    from sglang_soft.server.kept import KeptTraces

    replace(KeptTraces, "get", lambda original: lambda self, handle, *_: self._kept[handle].trace)


@mutant("what is kept stays within its bytes", "tests/unit/test_kept.py -k bound_holds")
def kept_uncounted() -> None:
    from sglang_soft.server import kept

    replace(kept, "size_of", lambda _: lambda trace: 1)
