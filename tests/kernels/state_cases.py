"""Batches of rows for a step's decisions and the rows' next state (state_checks.py)."""

from typing import NamedTuple

import torch
from sglang_soft_kernels import layout, sequences
from sglang_soft_kernels.layout import Phase, StepKind

NEVER = 2**31 - 1
FORCING = (
    StepKind.COLD_STOP, StepKind.MAX_THINKING_TOKENS, StepKind.METHOD, StepKind.STOP_RULE
)  # fmt: skip


class Case(NamedTuple):
    B: int
    K: int
    S: int
    force_end: bool
    logits: torch.dtype = torch.float32
    tokens: torch.dtype = torch.int64


CASES = [
    Case(0, 4, 0, True),
    Case(1, 1, 0, False),
    Case(7, 3, 5, True, tokens=torch.int32),
    Case(33, 10, 0, False),
    Case(63, 64, 1, True, logits=torch.bfloat16),
    Case(191, 17, 2, True),
]
EVERY_PATH = CASES[-1]
"""Large enough that each kind and each change of phase is in it."""


EOS = (33, 6, 34)
"""One of them may be part of a delimiter."""


class Inputs(NamedTuple):
    ids: torch.Tensor
    weights: torch.Tensor
    token: torch.Tensor
    entropy: torch.Tensor
    logits: torch.Tensor
    ints: torch.Tensor
    floats: torch.Tensor
    force_end: torch.Tensor | None
    stops: torch.Tensor | None
    state: torch.Tensor | None
    rows: torch.Tensor
    delimiters: torch.Tensor
    written: list["Written"]
    """[B]"""

    @property
    def fixed(self) -> dict[str, torch.Tensor]:
        """What `finish_step` needs in addition to the first seven."""
        return {"rows": self.rows, "delimiters": self.delimiters}

    @property
    def extras(self) -> dict[str, torch.Tensor | None]:
        """What methods and stopping rules may add."""
        return {"force_end": self.force_end, "stops": self.stops, "state": self.state}

    def to(self, device: str) -> "Inputs":
        return Inputs(*(x.to(device) if isinstance(x, torch.Tensor) else x for x in self))


class Written(NamedTuple):
    """Delimiters of one row, and what it has emitted."""

    start: list[int]
    end: list[int]
    closing: list[int]
    output: list[int]
    """Of the phase; its end does not contain the delimiter that the phase waits for."""

    @property
    def tail(self) -> list[int]:
        return self.closing + self.end

    def matched(self, sequence: list[int], token: int | None = None) -> int:
        """Tokens of `sequence` that the output, and then `token`, ends with."""
        output = self.output if token is None else [*self.output, token]
        sizes = range(len(sequence), 0, -1)
        return next((n for n in sizes if output[-n:] == sequence[:n]), 0)


def _written(g: torch.Generator, waits: bool) -> Written:
    def numbers(low: int, high: int, size: int) -> list[int]:
        return torch.randint(low, high, (size,), generator=g).tolist()

    def size(most: int) -> int:
        return numbers(1, most + 1, 1)[0] if numbers(0, 2, 1)[0] else 1

    # Two or three different tokens: sequences that overlap themselves.
    end = numbers(5, 7, size(sequences.MAX_DELIMITER))
    start = numbers(5, 8, size(sequences.MAX_DELIMITER)) if numbers(0, 5, 1)[0] else []
    closing = numbers(20, 50, size(sequences.MAX_CLOSING)) if numbers(0, 2, 1)[0] else []
    wanted, other = start if waits else end, numbers(5, 9, 10)
    output = [*other, *wanted[: numbers(0, len(wanted) + 1, 1)[0]]]
    if wanted and output[-len(wanted) :] == wanted:
        output.append(40)
    return Written(start, end, closing, output)


def make_inputs(case: Case, device: str, V: int = 50) -> Inputs:
    g = torch.Generator().manual_seed(case.B)
    B, K, S = case[:3]

    def chance(p: float) -> torch.Tensor:
        return torch.rand(B, generator=g) < p

    ints = torch.randint(0, V, (B, layout.INT_COLUMNS), generator=g, dtype=torch.int32)
    for column, high in (
        (layout.COLD_STOP_STEPS, 4),
        (layout.LOW_ENTROPY_STEPS, 4),
        (layout.THINK_STEP, 6),
        (layout.MAX_THINKING_TOKENS, 12),
    ):
        ints[:, column] = torch.randint(0, high, (B,), generator=g)
    ints[:, layout.MAX_THINKING_TOKENS] += 1
    ints[:, layout.COLD_STOP_STEPS] += 1
    ints[chance(0.5), layout.MAX_THINKING_TOKENS] = NEVER
    eos = slice(layout.EOS, layout.EOS + layout.EOS_COLUMNS)
    ints[:, eos] = -1
    stops = chance(0.7)
    ints[stops, layout.EOS], ints[stops, eos.stop - 2], ints[stops, eos.stop - 1] = EOS
    phases = torch.tensor(
        [Phase.OFF, Phase.WAIT, Phase.ANSWER, *[Phase.THINK] * 4], dtype=torch.int32
    )
    ints[:, layout.PHASE] = phases[torch.randint(0, len(phases), (B,), generator=g)]

    entropy = torch.rand(B, generator=g)
    floats = torch.rand(B, layout.COLD_STOP_ENTROPY + 1, generator=g)
    exact = chance(0.2)  # Cold Stop counts what is below its entropy, not what is equal to it
    floats[exact, layout.COLD_STOP_ENTROPY] = entropy[exact]
    # Parts of wider tensors, as the step passes them.
    ids = torch.randint(0, V, (B, K + 2), generator=g, dtype=torch.int32)[:, :K]
    weights = torch.rand(B, K + 2, generator=g)[:, :K]
    bits = torch.tensor([0, 1, 3, 8, 12, 16])[torch.arange(B) % 6]
    ints[:, layout.WEIGHT_BITS] = bits
    weights[:, 1:][torch.rand(B, K - 1, generator=g) < 0.2] = 0
    weights[1::2] /= weights[1::2].sum(1, keepdim=True)
    weights[B // 2 : B // 2 + 7, 1:] = weights[B // 2 : B // 2 + 7, :1]  # equal remainders
    weights[-3:] *= torch.tensor(-1.5)  # of methods that push away
    logits = torch.randn(B, V + 7, generator=g).to(case.logits)[:, :V]
    natural, ended, forbidden, under_way = map(chance, (0.2, 0.15, 0.25, 0.2))
    rows = torch.randperm(B + 2, generator=g)[:B]
    delimiters = torch.zeros((B + 2, sequences.DELIMITER_COLUMNS), dtype=torch.int32)
    written = []
    forcing = (*FORCING, StepKind.EOS)
    for b, row in enumerate(rows.tolist()):
        phase = int(ints[b, layout.PHASE])
        own = _written(g, phase == Phase.WAIT)
        written.append(own)
        delimiters[row] = torch.tensor(
            sequences.delimiter_row(own.start, own.end, own.closing), dtype=torch.int32
        )
        tail, match = own.tail, own.matched(own.start if phase == Phase.WAIT else own.end)
        sizes = (len(own.start), len(own.closing), len(tail))
        ints[b, layout.START_SIZE : layout.TAIL_SIZE + 1] = torch.tensor(sizes, dtype=torch.int32)
        ints[b, layout.MATCH] = match if phase in (Phase.WAIT, Phase.THINK) else 0
        at = 1 + b % (len(tail) - 1) if len(tail) > 1 else 0
        is_closing = bool(under_way[b]) and phase == Phase.THINK and at
        ints[b, layout.TAIL] = layout.tail_state(at, forcing[b % 5]) if is_closing else 0
        if natural[b]:
            ids[b, 0] = own.end[match] if match < len(own.end) else own.end[0]
        if ended[b]:
            ids[b, 0] = EOS[b % 3]
        if forbidden[b]:
            logits[b, tail] = float("-inf")
    force_end = chance(0.15) if case.force_end else None
    stops = chance(0.15) if case.force_end else None
    state = torch.randn(B, S, generator=g) if S else None
    inputs = (ids, weights, ids[:, 0], entropy, logits, ints, floats, force_end, stops, state)
    return Inputs(*inputs, rows, delimiters, written).to(device)
