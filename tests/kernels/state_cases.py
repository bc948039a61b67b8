"""Cases of a step's decisions and of the rows' next state, against one row after the other in plain
Python.

Run on the specification (test_state_naive.py), the compiled loops (test_cpu.py), in Triton's
interpreter (interpreted.py) and on a GPU. Nothing is rounded, so everything is compared bit for
bit.
"""

from typing import NamedTuple

import torch
from sglang_soft_kernels import layout
from sglang_soft_kernels.layout import Phase, StepKind

NEVER = 2**31 - 1
SPARE = 3
"""Slots and state columns of the pool that the batch does not use."""


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
    Case(127, 17, 2, True),
]
EVERY_PATH = CASES[-1]
"""Large enough that each kind and each change of phase is in it."""


class Inputs(NamedTuple):
    ids: torch.Tensor
    weights: torch.Tensor
    token: torch.Tensor
    entropy: torch.Tensor
    logits: torch.Tensor
    ints: torch.Tensor
    floats: torch.Tensor
    force_end: torch.Tensor | None
    state: torch.Tensor | None


def make_inputs(case: Case, device: str, V: int = 50) -> Inputs:
    g = torch.Generator().manual_seed(case.B)
    B, K, S = case[:3]

    def chance(p: float) -> torch.Tensor:
        return torch.rand(B, generator=g) < p

    columns = layout.THINK_STEP + 1
    ints = torch.randint(0, V, (B, columns), generator=g, dtype=torch.int32)
    for column, high in (
        (layout.COLD_STOP_STEPS, 4),
        (layout.LOW_ENTROPY_STEPS, 4),
        (layout.THINK_STEP, 6),
        (layout.MAX_THINKING_TOKENS, 12),
    ):
        ints[:, column] = torch.randint(0, high, (B,), generator=g)
    ints[:, layout.MAX_THINKING_TOKENS] += 1
    ints[:, layout.COLD_STOP_STEPS] += 1
    ints[chance(0.2), layout.MAX_THINKING_TOKENS] = NEVER
    ints[chance(0.2), layout.THINK_START] = -1
    phases = torch.tensor(
        [Phase.OFF, Phase.WAIT, Phase.ANSWER, *[Phase.THINK] * 4], dtype=torch.int32
    )
    ints[:, layout.PHASE] = phases[torch.randint(0, len(phases), (B,), generator=g)]
    think_end = ints[:, layout.THINK_END]
    ints[:, layout.EOS : layout.EOS + layout.EOS_COLUMNS] = -1

    entropy = torch.rand(B, generator=g)
    floats = torch.rand(B, layout.COLD_STOP_ENTROPY + 1, generator=g)
    exact = chance(0.2)  # Cold Stop counts what is below its entropy, not what is equal to it
    floats[exact, layout.COLD_STOP_ENTROPY] = entropy[exact]
    # Parts of wider tensors, as the step passes them.
    ids = torch.randint(0, V, (B, K + 2), generator=g, dtype=torch.int32)[:, :K]
    weights = torch.rand(B, K + 2, generator=g)[:, :K]
    natural = chance(0.15)
    ids[natural, 0] = think_end[natural]
    for column in (layout.EOS, layout.EOS + layout.EOS_COLUMNS - 1):
        at_end = chance(0.1)
        ints[at_end, column] = ids[at_end, 0]
    logits = torch.randn(B, V + 7, generator=g).to(case.logits)[:, :V]
    forbidden = chance(0.25)
    logits[forbidden, think_end[forbidden].long()] = float("-inf")
    force_end = chance(0.15) if case.force_end else None
    state = torch.randn(B, S, generator=g) if S else None
    inputs = (ids, weights, ids[:, 0], entropy, logits, ints, floats, force_end, state)
    return Inputs(*(None if x is None else x.to(device) for x in inputs))


def decided(inputs: Inputs, b: int) -> tuple[int, int, int, list[int], list[float]]:
    """kind, low, token, ids and weights of row b."""
    ids, weights, token = inputs.ids[b].tolist(), inputs.weights[b].tolist(), int(inputs.token[b])
    ints = inputs.ints[b].tolist()
    think_end = ints[layout.THINK_END]
    low = (
        ints[layout.LOW_ENTROPY_STEPS] + 1
        if inputs.entropy[b] < inputs.floats[b, layout.COLD_STOP_ENTROPY]
        else 0
    )
    kind = StepKind.CONCEPT
    if token == think_end:
        kind = StepKind.STOP_TOKEN
    elif inputs.logits[b, think_end] > float("-inf"):
        if token in ints[layout.EOS : layout.EOS + layout.EOS_COLUMNS]:
            kind = StepKind.EOS
        elif inputs.force_end is not None and inputs.force_end[b]:
            kind = StepKind.METHOD
        elif low >= ints[layout.COLD_STOP_STEPS]:
            kind = StepKind.COLD_STOP
        elif ints[layout.THINK_STEP] >= ints[layout.MAX_THINKING_TOKENS]:
            kind = StepKind.MAX_THINKING_TOKENS
    if kind != StepKind.CONCEPT:
        token = think_end
    if ints[layout.PHASE] != Phase.THINK:
        kind = StepKind.PLAIN
    return int(kind), low, token, ids, weights


def check_finish_step(finish_step, case: Case, device: str) -> None:
    inputs = make_inputs(case, device)
    before = [x.clone() for x in inputs if x is not None]
    record = finish_step(*inputs[:7], force_end=inputs.force_end, state=inputs.state)
    assert (
        record.packed.shape == (case.B, layout.record_columns(case.K, case.S))
        and record.packed.is_contiguous()
    )
    assert torch.equal(record.entropy, inputs.entropy)
    assert record.state.shape[1] == case.S and (
        inputs.state is None or torch.equal(record.state, inputs.state)
    )
    parts = [
        x.tolist()
        for x in (record.kind, record.low_entropy, record.token, record.ids, record.weights)
    ]
    on_host = Inputs(*(None if x is None else x.cpu() for x in inputs))
    for b, got in enumerate(zip(*parts, strict=True)):
        assert got == decided(on_host, b), f"row {b}"
    if case == EVERY_PATH:
        assert set(record.kind.tolist()) == set(StepKind)
    for x, old in zip([x for x in inputs if x is not None], before, strict=True):
        assert torch.equal(x, old), "an input was modified"


def check_next_state(finish_step, overwrite_tokens, update_pool, case: Case, device: str) -> None:
    """Tokens, and every element of the pool: other rows, spare slots and the rows' parameters stay
    as they are."""
    inputs = make_inputs(case, device)
    B, K, S = case[:3]
    g = torch.Generator().manual_seed(case.K)
    R = 2 * B + 3
    rows = torch.randperm(R, generator=g)[:B].to(device)
    pool = (
        torch.randint(0, 50, (R, K + SPARE), generator=g, dtype=torch.int32).to(device),
        torch.rand(R, K + SPARE, generator=g).to(device),
        torch.randint(0, 50, (R, layout.THINK_STEP + 1), generator=g, dtype=torch.int32).to(device),
        torch.randn(R, S + SPARE, generator=g).to(device),
    )
    pool[2][rows] = inputs.ints
    record = finish_step(*inputs[:7], force_end=inputs.force_end, state=inputs.state)
    drawn = torch.randint(0, 50, (B,), generator=g)
    drawn[::2] = inputs.ints[::2, layout.THINK_START].cpu()
    tokens = drawn.to(device, case.tokens)
    want_ids, want_weights, want_ints, want_state = (x.tolist() for x in pool)

    overwrite_tokens(record, tokens)
    thinking = (record.kind != StepKind.PLAIN).cpu()
    assert torch.equal(tokens.cpu().long(), torch.where(thinking, record.token.cpu().long(), drawn))
    update_pool(record, tokens, inputs.ints, rows, *pool)

    changes = set()
    for b, row in enumerate(rows.tolist()):
        kind, ints = int(record.kind[b]), want_ints[row]
        want_ids[row][:K] = record.ids[b].tolist()
        want_weights[row][:K] = (
            record.weights[b].tolist() if kind == StepKind.CONCEPT else [0.0] * K
        )
        phase = old = ints[layout.PHASE]
        if kind != StepKind.PLAIN:
            want_state[row][:S] = record.state[b].tolist()
            ints[layout.LOW_ENTROPY_STEPS] = int(record.low_entropy[b])
            phase = Phase.THINK if kind == StepKind.CONCEPT else Phase.ANSWER
            ints[layout.THINK_STEP] += kind == StepKind.CONCEPT
        elif old == Phase.WAIT and tokens[b] == ints[layout.THINK_START]:
            phase = Phase.THINK
        ints[layout.PHASE] = int(phase)
        changes.add((old, int(phase)))
    for got, want in zip(pool, (want_ids, want_weights, want_ints, want_state), strict=True):
        assert got.tolist() == want
    if case == EVERY_PATH:
        stays = {(int(phase), int(phase)) for phase in Phase}
        assert changes == stays | {(Phase.WAIT, Phase.THINK), (Phase.THINK, Phase.ANSWER)}


def check_index(finish_step, overwrite_tokens, update_pool, case: Case, device: str) -> None:
    """Rows of a larger batch: as the same rows alone, and the other rows keep their tokens."""
    inputs = make_inputs(case, device)
    B, K, S = case[:3]
    N = B + 4
    index = torch.randperm(N, generator=torch.Generator().manual_seed(B))[:B].sort().values
    index = index.to(device)
    logits = torch.full((N, inputs.logits.shape[1]), float("nan"), device=device)
    logits = logits.to(inputs.logits.dtype)
    logits[index] = inputs.logits
    extras = {"force_end": inputs.force_end, "state": inputs.state}
    alone = finish_step(*inputs[:7], **extras)
    given = inputs._replace(logits=logits)
    record = finish_step(*given[:7], **extras, index=index)
    assert torch.equal(record.packed, alone.packed)

    tokens = torch.full((N,), 60, dtype=case.tokens, device=device)
    tokens[index[::2]] = inputs.ints[::2, layout.THINK_START].to(case.tokens)
    drawn = tokens.clone()
    overwrite_tokens(record, tokens, index)
    own = drawn[index]
    overwrite_tokens(alone, own)
    assert torch.equal(tokens[index], own)
    others = torch.ones(N, dtype=torch.bool, device=device)
    others[index] = False
    assert (tokens[others] == 60).all()

    rows = torch.arange(B, device=device)
    pools = [
        (
            torch.zeros((B, K), dtype=torch.int32, device=device),
            torch.zeros((B, K), device=device),
            inputs.ints.clone(),
            torch.zeros((B, max(1, S)), device=device),
        )
        for _ in range(2)
    ]
    update_pool(record, tokens, inputs.ints, rows, *pools[0], index)
    update_pool(alone, own, inputs.ints, rows, *pools[1])
    for got, want in zip(*pools, strict=True):
        assert torch.equal(got, want)


def check_methods_of_a_batch(finish_step, case: Case, device: str) -> None:
    """Methods write their own rows of one record: fewer slots and state columns than the record has
    are filled with zeros, more are cut."""
    inputs = make_inputs(case, device)
    B, K, S = case[:3]
    inputs.ints[:, layout.METHOD] = torch.arange(B, device=device).int() % 2
    wide, states = K + 5, S + 2
    first = finish_step(*inputs[:7], state=inputs.state, k=wide, states=states)
    assert first.packed.shape == (B, layout.record_columns(wide, states))
    before = first.packed.clone()
    one = inputs._replace(ids=inputs.ids[:, :1] + 1, weights=inputs.weights[:, :1], state=None)
    flags = torch.ones(B, dtype=torch.bool, device=device)
    both = finish_step(
        *one[:7], force_end=flags, k=wide, states=states, into=first, method=1
    )  # fmt: skip
    assert both is first
    assert torch.equal(both.packed[::2], before[::2])
    ids = torch.zeros((B, wide), dtype=torch.int32, device=device)
    weights = torch.zeros((B, wide), device=device)
    ids[::2, :K], ids[1::2, :1] = inputs.ids[::2], one.ids[1::2]
    weights[::2, :K], weights[1::2, :1] = inputs.weights[::2], one.weights[1::2]
    assert torch.equal(both.ids, ids) and torch.equal(both.weights, weights)
    state = torch.zeros((B, states), device=device)
    if inputs.state is not None:
        state[::2, :S] = inputs.state[::2]
    assert torch.equal(both.state, state)
    alone = finish_step(*one[:7], force_end=flags, state=None)
    assert torch.equal(both.kind[1::2], alone.kind[1::2])
    if K > 1:
        cut = finish_step(*inputs[:7], state=inputs.state, k=1, states=0)
        assert torch.equal(cut.ids, inputs.ids[:, :1]) and cut.state.shape == (B, 0)


def check_write_offsets(finish_step, write_offsets, case: Case, device: str) -> None:
    """Rows of the method get the offset, and the flag where a concept is fed; others keep both."""
    inputs = make_inputs(case, device)
    B, H, R = case.B, 1030, 2 * case.B + 3
    inputs.ints[:, layout.METHOD] = torch.arange(B, device=device).int() % 2
    record = finish_step(*inputs[:7], force_end=inputs.force_end, state=inputs.state)
    g = torch.Generator().manual_seed(B)
    rows = torch.randperm(R, generator=g)[:B].to(device)
    offsets = torch.randn(B, H, generator=g).to(device, torch.bfloat16)
    pool = torch.randn(R, H, generator=g).to(device, torch.bfloat16)
    flags = (torch.rand(R, generator=g) < 0.5).to(device)
    want, want_flags = pool.clone(), flags.clone()
    write_offsets(record, offsets, inputs.ints, rows, 1, pool, flags)
    for b, row in enumerate(rows.tolist()):
        if b % 2:
            want[row] = offsets[b]
            want_flags[row] = int(record.kind[b]) == StepKind.CONCEPT
    assert torch.equal(pool, want) and torch.equal(flags, want_flags)
