"""A request that was retracted, or is prefilled in chunks, goes on as if nothing had happened."""

import torch
from sglang_soft_kernels.layout import Phase

from tests.mutants import mutant, replace

TRACES = "tests/engine/test_traces.py"
METHODS = "tests/engine/test_methods.py"


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


@mutant("mixed chunked prefill feeds concept tokens to its decode rows", f"{TRACES} -k mixed-chunk")
def decode_rows_of_a_mixed_chunk_are_plain() -> None:
    from sglang_soft.hooks import forward_batch

    def make(original):
        def replay(pool, spans, rows):
            plain = [s._replace(request=None) if s.decodes else s for s in spans]
            return original(pool, plain, rows)

        return replay

    replace(forward_batch, "replay", make)


@mutant("embedding offsets are replayed", f"{METHODS} -k 'survives and offsets'")
def offset_not_replayed() -> None:
    from sglang_soft.engine import replay

    def make(original):
        def offsets(*args):
            table, has = original(*args)
            return [table, torch.zeros_like(has)]

        return offsets

    replace(replay, "_offsets", make)


@mutant("a method's state survives a retraction", f"{METHODS} -k 'survives and state'")
def method_state_lost() -> None:
    from sglang_soft.engine.request import SoftRequest, ThinkingState

    def make(_):
        def state(self):
            found = ThinkingState.of(self.trace)
            return found._replace(method_state=torch.tensor(self.method.state).numpy())

        return property(state)

    replace(SoftRequest, "state", make)


@mutant("positions count from the first token of the prompt", "tests/unit/test_replay.py")
def steps_off_by_one() -> None:
    from sglang_soft.trace import Trace

    def make(original):
        def fed(self, start, stop):
            return [
                s._replace(rows=slice(max(s.rows.start - 1, 0), max(s.rows.stop - 1, 0)))
                for s in original(self, start, stop)
            ]

        return fed

    replace(Trace, "fed", make)


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


@mutant("a request that waits for think-start begins to think after it", f"{TRACES} -k default")
def waiting_rows_left_out() -> None:
    from sglang_soft.hooks import forward_batch

    def make(original):
        def prepare(pool, rows, requests):
            waits = [r is not None and r.phase == Phase.WAIT for r in requests]
            return original(pool, rows, [None if w else r for w, r in zip(waits, requests)])

        return prepare

    replace(forward_batch, "prepare", make)
