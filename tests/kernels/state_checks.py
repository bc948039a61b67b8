"""A step's decisions and the rows' next state, against one row after the other in plain Python.

Run on the specification (test_state_naive.py), the compiled loops (test_cpu.py), in Triton's
interpreter (interpreted.py) and on a GPU. Nothing is rounded, so everything is compared bit for
bit.
"""

import math
from fractions import Fraction

import torch
from sglang_soft_kernels import layout, sequences
from sglang_soft_kernels.layout import Phase, StepKind
from state_cases import EVERY_PATH, Case, Inputs, make_inputs

SPARE = 3
"""Slots and state columns of the pool that the batch does not use."""


def on_grid(ids: list[int], weights: list[float], bits: int) -> tuple[list[int], list[float]]:
    """Largest remainder, of equal ones the first slot; slots without a unit go last."""
    scale, slots = 2**bits, range(len(ids))
    scaled = [Fraction(w) * scale for w in weights]
    units = [math.floor(x) for x in scaled]
    missing = scale - sum(units)
    by_remainder = sorted(slots, key=lambda i: units[i] - scaled[i])
    for i in by_remainder[: max(missing, 0)]:
        units[i] += weights[i] != 0
    order = sorted(slots, key=lambda i: units[i] == 0)
    return [ids[i] for i in order], [units[i] / scale for i in order]


def decided(inputs: Inputs, b: int) -> tuple[int, int, int, int, list[int], list[float]]:
    """kind, low, token, tail state, ids and weights of row b."""
    ids, weights, token = inputs.ids[b].tolist(), inputs.weights[b].tolist(), int(inputs.token[b])
    ints, own = inputs.ints[b].tolist(), inputs.written[b]
    phase, tail = ints[layout.PHASE], own.tail
    if bits := ints[layout.WEIGHT_BITS]:
        ids, weights = on_grid(ids, weights, bits)
    low = (
        ints[layout.LOW_ENTROPY_STEPS] + 1
        if inputs.entropy[b] < inputs.floats[b, layout.COLD_STOP_ENTROPY]
        else 0
    )
    state = ints[layout.TAIL]
    if phase != Phase.THINK:
        return int(StepKind.PLAIN), low, -1, -1, ids, weights
    matched = own.matched(own.end, token)
    eos = ints[layout.EOS : layout.EOS + layout.EOS_COLUMNS]
    is_eos = token in eos and not matched
    match = own.matched(own.end)
    at = len(own.closing) + match if match or is_eos else 0
    kind = StepKind.CONCEPT
    if state:
        at, kind = state % layout.KIND_SHIFT, StepKind(state // layout.KIND_SHIFT)
    elif matched == len(own.end):
        pass
    elif is_eos:
        kind = StepKind.EOS
    elif inputs.force_end is not None and inputs.force_end[b]:
        kind = StepKind.METHOD
    elif inputs.stops is not None and inputs.stops[b]:
        kind = StepKind.STOP_RULE
    elif low >= ints[layout.COLD_STOP_STEPS]:
        kind = StepKind.COLD_STOP
    elif ints[layout.THINK_STEP] + len(tail) > ints[layout.MAX_THINKING_TOKENS]:
        kind = StepKind.MAX_THINKING_TOKENS
    if kind != StepKind.CONCEPT and inputs.logits[b, tail[at]] > float("-inf"):
        token, state = tail[at], 0
        if at + 1 < len(tail):
            state, kind = layout.tail_state(at + 1, kind), StepKind.CLOSING
            ids = [token] + [0] * (len(ids) - 1)
            weights = [1.0] + [0.0] * (len(ids) - 1)
    else:
        kind = StepKind.STOP_TOKEN if matched == len(own.end) else StepKind.CONCEPT
    return int(kind), low, token, state, ids, weights


def check_finish_step(finish_step, case: Case, device: str) -> None:
    inputs = make_inputs(case, device)
    before = [x.clone() for x in inputs if isinstance(x, torch.Tensor)]
    record = finish_step(*inputs[:7], **inputs.fixed, **inputs.extras)
    assert (
        record.packed.shape == (case.B, layout.record_columns(case.K, case.S))
        and record.packed.is_contiguous()
    )
    assert torch.equal(record.entropy, inputs.entropy)
    assert record.state.shape[1] == case.S and (
        inputs.state is None or torch.equal(record.state, inputs.state)
    )
    columns = (record.kind, record.low_entropy, record.token, record.next_tail, record.ids)
    parts = [x.tolist() for x in (*columns, record.weights)]
    on_host = inputs.to("cpu")
    for b, (kind, low, token, tail, *concept) in enumerate(zip(*parts, strict=True)):
        if kind == StepKind.PLAIN:  # its token and its tail mean nothing
            token = tail = -1
        assert (kind, low, token, tail, *concept) == decided(on_host, b), f"row {b}"
    if case == EVERY_PATH:
        assert set(record.kind.tolist()) == set(StepKind)
        resumed = [inputs.ints[b, layout.TAIL] > 0 for b in range(case.B)]
        assert any(resumed), "no forced end was under way"
    for x, old in zip([x for x in inputs if isinstance(x, torch.Tensor)], before, strict=True):
        assert torch.equal(x, old), "an input was modified"


THINKS_ON = (StepKind.CONCEPT, StepKind.CLOSING)


def continuing(inputs: Inputs) -> list[int]:
    """For each row, a token that continues its think-start."""
    pairs = [(own.start or [0], own.matched(own.start)) for own in inputs.written]
    return [start[min(matched, len(start) - 1)] for start, matched in pairs]


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
        torch.randint(0, 50, (R, layout.INT_COLUMNS), generator=g, dtype=torch.int32).to(device),
        torch.randn(R, S + SPARE, generator=g).to(device),
    )
    pool[2][rows] = inputs.ints
    record = finish_step(*inputs[:7], **inputs.fixed, **inputs.extras)
    drawn = torch.randint(0, 50, (B,), generator=g)
    drawn[::2] = torch.tensor(continuing(inputs)[::2])
    delimiters = torch.zeros((R, sequences.DELIMITER_COLUMNS), dtype=torch.int32, device=device)
    delimiters[rows] = inputs.delimiters[inputs.rows]
    tokens = drawn.to(device, case.tokens)
    want_ids, want_weights, want_ints, want_state = (x.tolist() for x in pool)

    overwrite_tokens(record, tokens)
    thinking = (record.kind != StepKind.PLAIN).cpu()
    assert torch.equal(tokens.cpu().long(), torch.where(thinking, record.token.cpu().long(), drawn))
    update_pool(record, tokens, inputs.ints, rows, *pool, delimiters)

    changes = set()
    for b, row in enumerate(rows.tolist()):
        kind, ints = int(record.kind[b]), want_ints[row]
        want_ids[row][:K] = record.ids[b].tolist()
        want_weights[row][:K] = record.weights[b].tolist() if kind in THINKS_ON else [0.0] * K
        own, token, match = inputs.written[b], int(tokens[b]), 0
        phase = old = ints[layout.PHASE]
        if kind != StepKind.PLAIN:
            want_state[row][:S] = record.state[b].tolist()
            ints[layout.LOW_ENTROPY_STEPS] = int(record.low_entropy[b])
            phase = Phase.THINK if kind in THINKS_ON else Phase.ANSWER
            ints[layout.THINK_STEP] += kind in THINKS_ON
            match = own.matched(own.end, token) if kind in THINKS_ON else 0
        elif old == Phase.WAIT:
            match = own.matched(own.start, token)
            if own.start and match == len(own.start):
                phase, match = Phase.THINK, 0
        ints[layout.PHASE] = int(phase)
        ints[layout.MATCH] = match
        ints[layout.TAIL] = int(record.next_tail[b]) if kind in THINKS_ON else 0
        ints[layout.LAST_TOKEN] = token
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
    extras = inputs.extras
    alone = finish_step(*inputs[:7], **inputs.fixed, **extras)
    given = inputs._replace(logits=logits)
    record = finish_step(*given[:7], **inputs.fixed, **extras, index=index)
    assert torch.equal(record.packed, alone.packed)

    tokens = torch.full((N,), 60, dtype=case.tokens, device=device)
    tokens[index[::2]] = torch.tensor(continuing(inputs)[::2]).to(device, case.tokens)
    drawn = tokens.clone()
    overwrite_tokens(record, tokens, index)
    own = drawn[index]
    overwrite_tokens(alone, own)
    assert torch.equal(tokens[index], own)
    others = torch.ones(N, dtype=torch.bool, device=device)
    others[index] = False
    assert (tokens[others] == 60).all()

    rows = torch.arange(B, device=device)
    delimiters = inputs.delimiters[inputs.rows].contiguous()
    pools = [
        (
            torch.zeros((B, K), dtype=torch.int32, device=device),
            torch.zeros((B, K), device=device),
            inputs.ints.clone(),
            torch.zeros((B, max(1, S)), device=device),
        )
        for _ in range(2)
    ]
    update_pool(record, tokens, inputs.ints, rows, *pools[0], delimiters, index)
    update_pool(alone, own, inputs.ints, rows, *pools[1], delimiters)
    for got, want in zip(*pools, strict=True):
        assert torch.equal(got, want)


def check_methods_of_a_batch(finish_step, case: Case, device: str) -> None:
    """Methods write their own rows of one record: fewer slots and state columns than the record has
    are filled with zeros, more are cut."""
    inputs = make_inputs(case, device)
    B, K, S = case[:3]
    inputs.ints[:, layout.METHOD] = torch.arange(B, device=device).int() % 2
    wide, states = K + 5, S + 2
    first = finish_step(*inputs[:7], **inputs.fixed, state=inputs.state, k=wide, states=states)
    assert first.packed.shape == (B, layout.record_columns(wide, states))
    before = first.packed.clone()
    one = inputs._replace(ids=inputs.ids[:, :1] + 1, weights=inputs.weights[:, :1], state=None)
    flags = torch.ones(B, dtype=torch.bool, device=device)
    both = finish_step(
        *one[:7], **one.fixed, force_end=flags, k=wide, states=states, into=first, method=1
    )  # fmt: skip
    assert both is first
    assert torch.equal(both.packed[::2], before[::2])
    ids = torch.zeros((B, wide), dtype=torch.int32, device=device)
    weights = torch.zeros((B, wide), device=device)
    ids[::2, :K], ids[1::2, :1] = inputs.ids[::2], one.ids[1::2]
    weights[::2, :K], weights[1::2, :1] = inputs.weights[::2], one.weights[1::2]
    bits = inputs.ints[:, layout.WEIGHT_BITS].tolist()
    for b in range(B):
        own = ids[b].tolist(), weights[b].tolist()
        want = on_grid(*own, bits[b]) if bits[b] else own
        if both.kind[b] != StepKind.CLOSING:  # what a forced end feeds is no method's
            assert (both.ids[b].tolist(), both.weights[b].tolist()) == want
    state = torch.zeros((B, states), device=device)
    if inputs.state is not None:
        state[::2, :S] = inputs.state[::2]
    assert torch.equal(both.state, state)
    alone = finish_step(*one[:7], **one.fixed, force_end=flags, state=None)
    assert torch.equal(both.kind[1::2], alone.kind[1::2])
    if K > 1:
        cut = finish_step(*inputs[:7], **inputs.fixed, state=inputs.state, k=1, states=0)
        fed = cut.kind != StepKind.CLOSING
        assert torch.equal(cut.ids[fed], inputs.ids[fed, :1]) and cut.state.shape == (B, 0)


def check_write_offsets(finish_step, write_offsets, case: Case, device: str) -> None:
    """Rows of the method get the offset, and the flag where a concept is fed; others keep both."""
    inputs = make_inputs(case, device)
    B, H, R = case.B, 1030, 2 * case.B + 3
    inputs.ints[:, layout.METHOD] = torch.arange(B, device=device).int() % 2
    record = finish_step(*inputs[:7], **inputs.fixed, **inputs.extras)
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
