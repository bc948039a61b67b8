"""What ends a thought, an answer and a request."""

from sglang_soft_kernels import layout

from tests.mutants import mutant, replace

CONTROLS = "tests/engine/test_controls.py"
DELIMITERS = "tests/engine/test_delimiters.py"


@mutant("an end of sequence in the thought becomes think-end",
        f"{CONTROLS} -k end_of_sequence_in_the_thought")  # fmt: skip
def eos_is_not_known() -> None:
    from sglang_soft.engine.pool import ConceptPool

    replace(ConceptPool, "use_eos", lambda _: lambda self, ids: None)


@mutant("stop conditions do not act in the thought", f"{CONTROLS} -k 'stop_conditions and default'")
def stop_conditions_everywhere() -> None:
    from sglang_soft.hooks import finish

    replace(finish, "_in_answer_only", lambda _: lambda soft: False)


@mutant("a stop string lies wholly in the answer", f"{CONTROLS} -k wholly_in_the_answer")
def stop_strings_begin_in_the_thought() -> None:
    from sglang_soft.hooks import finish

    def make(_):
        return lambda original, self, count=1: original(self, count)

    replace(finish, "tail_str", make)


@mutant("the text of the thought is not cut at a stop string",
        f"{CONTROLS} -k 'stop_conditions and default-stop'")  # fmt: skip
def text_cut_in_the_thought() -> None:
    from sglang_soft.hooks import finish

    def make(original):
        return lambda req, count: original(req, len(req.output_ids))

    replace(finish, "_decode", make)


@mutant("the answer's budget does not count the thought", f"{CONTROLS} -k 'budget and default'")
def budget_of_the_output() -> None:
    from sglang_soft.engine.request import SoftRequest

    replace(SoftRequest, "answer_tokens", lambda _: lambda self, output_ids: len(output_ids))


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


@mutant("a retracted request remembers a part of think-end", f"{DELIMITERS} -k retracted_inside")
def match_begins_anew() -> None:
    from sglang_soft.engine.request import ThinkingState

    def make(original):
        return classmethod(lambda cls, trace: original(trace)._replace(match=0))

    replace(ThinkingState, "of", make)
