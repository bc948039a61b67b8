"""Edits of a trace, and which steps a verifier judges."""

from tests.mutants import mutant, replace

EDITING = "tests/unit/test_editing.py"


@mutant("what an edit leaves has its own state", f"{EDITING} -k 'state or delimiter'")
def state_is_that_of_the_whole() -> None:
    from sglang_soft.trace import cutting

    replace(cutting, "low_entropy_steps", lambda _: lambda trace, *args: trace.low_entropy_steps)


@mutant("an edited step is marked", f"{EDITING} -k 'removed or keep_rest'")
def edited_steps_are_not_marked() -> None:
    from sglang_soft.trace import joining

    replace(joining, "_marked", lambda _: lambda trace, *args: trace.segments)


@mutant("an open thought does not emit think-end", f"{EDITING} -k delimiter")
def think_end_is_let_through() -> None:
    from sglang_soft.trace import joining

    replace(joining, "_check_open", lambda _: lambda *args: None)


@mutant("edited steps are not judged", "tests/unit/test_verify_rounding.py -k edited")
def edited_steps_are_judged() -> None:
    from sglang_soft.trace import cutting
    from sglang_soft.verify import pieces

    def make(original):
        return lambda trace: original(trace.copy(segments=[]))

    replace(pieces, "segments", make)
    assert pieces.segments is not cutting.segments
