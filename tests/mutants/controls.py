"""Forced ends and delimiters of several tokens; requests.py has those of stop conditions."""

from sglang_soft_kernels import layout

from tests.mutants import mutant, replace

CONTROLS = "tests/engine/test_controls.py"
DELIMITERS = "tests/engine/test_delimiters.py"


@mutant("the bound on thinking tokens holds with a closing text",
        f"{CONTROLS} -k 'put_before and default'")  # fmt: skip
def bound_without_closing_text() -> None:
    from sglang_soft_kernels.state import cpu

    def make(original):
        def finish_step(ids, weights, token, entropy, logits, ints, floats, **kwargs):
            ints = ints.clone()
            ints[:, layout.THINK_STEP] -= ints[:, layout.CLOSING_SIZE]
            return original(ids, weights, token, entropy, logits, ints, floats, **kwargs)

        return finish_step

    replace(cpu, "finish_step", make)


@mutant("a retracted request goes on with its closing text", f"{CONTROLS} -k retracted_while")
def closing_begins_anew() -> None:
    from sglang_soft.engine.request import ThinkingState

    def make(original):
        return classmethod(lambda cls, trace: original(trace)._replace(tail=0))

    replace(ThinkingState, "of", make)


@mutant("a closing text is fed without embedding offsets",
        f"{CONTROLS} -k 'put_before and default'")  # fmt: skip
def offsets_while_closing() -> None:
    from sglang_soft.engine import step

    def make(original):
        def write_offsets(record, offsets, ints, rows, method, pool_offsets, pool_has_offset):
            packed = record.packed.clone()
            closing = packed[:, layout.KIND] == layout.StepKind.CLOSING
            packed[closing, layout.KIND] = int(layout.StepKind.CONCEPT)
            record = record._replace(packed=packed)
            original(record, offsets, ints, rows, method, pool_offsets, pool_has_offset)

        return write_offsets

    replace(step, "write_offsets", make)


@mutant("a delimiter that overlaps itself is found", "tests/unit/test_closing.py -k longest_suffix")
def no_failure_function() -> None:
    from sglang_soft_kernels import sequences

    def make(_):
        def advance(sequence, borders, matched, token):
            if sequence and token == sequence[matched]:
                return matched + 1
            return int(bool(sequence) and token == sequence[0])

        return advance

    replace(sequences, "advance", make)


@mutant("a retracted request remembers a part of think-end", f"{DELIMITERS} -k retracted_inside",
        stops="AssertionError: a whole think-end goes on")  # fmt: skip
def match_begins_anew() -> None:
    from sglang_soft.engine.request import ThinkingState

    def make(original):
        return classmethod(lambda cls, trace: original(trace)._replace(match=0))

    replace(ThinkingState, "of", make)
