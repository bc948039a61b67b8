"""Triton: tokens beyond the candidates, found without a sort; and drawing from all of Filter(p).

A draw is the inverse CDF in the order of the tokens (logit descending, id ascending), as `naive`
has it. Nearly all draws and thresholds lie among the sorted candidates. Where one does not, the
token is searched: by bisection on the ordered logits for the largest one at which the mass of the
tokens from there on exceeds the target, each round a pass over the row; then by id among the tokens
of that logit. Bounds jump to logits that exist, so some 20 rounds suffice.

Sums over a row have a fixed order, so a row's bits do not depend on the batch.
Shapes: A rows that are computed of N rows of the batch, n draws a row, V vocabulary.
"""

import triton
import triton.language as tl

INT_MIN = tl.constexpr(-(2**31))
INT_MAX = tl.constexpr(2**31 - 1)
CHUNK = tl.constexpr(8192)
MAX_CANDIDATES = tl.constexpr(256)
NO_TOP_P = tl.constexpr(1e30)
LOWEST = tl.constexpr(-3.4028234663852886e38)


@triton.jit
def ordered(x):
    """float32 -> int32 that compares as the float does; -0.0 equals 0.0, and INT_MIN is below every
    float."""
    bits = (x + 0.0).to(tl.int32, bitcast=True)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@triton.jit
def unordered(key):
    """The float32 whose `ordered` is key."""
    return (key ^ ((key >> 31) & 0x7FFFFFFF)).to(tl.float32, bitcast=True)


@triton.jit
def mass_of(z, largest, T):
    """A token's probability relative to that of the most probable one."""
    return tl.exp(tl.maximum(z - largest, -1e30) / T)


@triton.jit
def measure(row_ptr, V, middle, largest, T, min_p):
    """One pass over a row, tokens of less than min_p left out.

    Returns the mass and the number of the tokens of a key from `middle` on, the smallest of those
    keys, the largest key below (INT_MIN: none) and the number of tokens that have that one.
    """
    lane = tl.arange(0, CHUNK)
    mass = tl.zeros([CHUNK], tl.float32)
    count = tl.zeros([CHUNK], tl.int32)
    above = tl.full([CHUNK], INT_MAX, tl.int32)
    below = tl.full([CHUNK], INT_MIN, tl.int32)
    ties = tl.zeros([CHUNK], tl.int32)
    for first in range(0, V, CHUNK):
        there = first + lane < V
        z = tl.load(row_ptr + first + lane, mask=there, other=0.0).to(tl.float32)
        e = mass_of(z, largest, T)
        there = there & (e >= min_p)
        key = tl.where(there, ordered(z), INT_MIN)
        upper = there & (key >= middle)
        mass += tl.where(upper, e, 0.0)
        count += upper.to(tl.int32)
        above = tl.where(upper, tl.minimum(above, key), above)
        lower = there & (key < middle)
        ties = tl.where(lower & (key > below), 0, ties) + (lower & (key >= below)).to(tl.int32)
        below = tl.where(lower, tl.maximum(below, key), below)
    largest_below = tl.max(below, axis=0)
    ties = tl.sum(tl.where(below == largest_below, ties, 0), axis=0)
    return tl.sum(mass, axis=0), tl.sum(count, axis=0), tl.min(above, axis=0), largest_below, ties


@triton.jit
def find(row_ptr, V, target, lowest, largest, T, min_p, BY_COUNT: tl.constexpr):
    """The tokens of one logit, the first at which the mass (or number) of the tokens up to and
    including them exceeds `target`; of the keys from `lowest` on the last one if none does.

    Returns their key, how many they are, and the mass and the number of the tokens before them.
    """
    low, high = lowest, ordered(largest) + 1
    while low + 1 < high:
        middle = (low & high) + ((low ^ high) >> 1)  # the mean without overflow
        mass, count, above, below, _ = measure(row_ptr, V, middle, largest, T, min_p)
        if BY_COUNT:
            enough = count > target
        else:
            enough = mass > target
        no_more = (below == INT_MIN) | (below < lowest)
        low = tl.where(enough, tl.minimum(above, high - 1), tl.where(no_more, above, low))
        high = tl.where(enough, high, tl.where(no_more, above, below) + 1)
    mass, count, _, key, ties = measure(row_ptr, V, high, largest, T, min_p)
    return key, ties, mass, count


@triton.jit
def nth(row_ptr, V, key, n):
    """The id of the n-th token (from 0, by id) whose logit has this key."""
    lane = tl.arange(0, CHUNK)
    before = 0
    token = tl.zeros([CHUNK], tl.int32)
    for first in range(0, V, CHUNK):
        there = first + lane < V
        z = tl.load(row_ptr + first + lane, mask=there, other=0.0).to(tl.float32)
        hit = there & (ordered(z) == key)
        rank = before + tl.cumsum(hit.to(tl.int32), axis=0) - 1
        token += tl.where(hit & (rank == n), first + lane, 0)
        before += tl.sum(hit.to(tl.int32), axis=0)
    return tl.sum(token, axis=0)


@triton.jit
def filtered(row_ptr, V, n, top_p, limit, min_p, largest, T):
    """Where Filter(p) ends: the mass of what it keeps, the last key, and how many of its tokens are
    kept. limit: top_p of the total."""
    cut, kept = tl.full([], INT_MIN, tl.int32), tl.full([], 0, tl.int32)
    if n < V:
        key, _, _, before = find(row_ptr, V, n - 1, INT_MIN, largest, T, 0.0, True)
        cut, kept = key, n - before
    if top_p < NO_TOP_P:
        key, ties, mass, _ = find(row_ptr, V, limit, INT_MIN, largest, T, min_p, False)
        # A token is kept while the mass before it is at most the limit.
        share = (limit - mass) / mass_of(unordered(key), largest, T)
        fit = tl.minimum(share, (ties - 1).to(tl.float32)).to(tl.int32) + 1
        earlier = (key > cut) | ((key == cut) & (fit < kept))
        cut, kept = tl.where(earlier, key, cut), tl.where(earlier, fit, kept)
    mass, _, _, below, ties = measure(row_ptr, V, cut + 1, largest, T, min_p)
    kept = tl.where(below == cut, tl.minimum(kept, ties), 0)
    last = kept.to(tl.float32) * mass_of(unordered(cut), largest, T)
    return mass + tl.where(kept > 0, last, 0.0), cut, kept  # the key of no token is no number


@triton.jit(
    do_not_specialize=[
        "index_ptr", "temperature_ptr", "top_k_ptr", "top_p_ptr", "totals_ptr",
        "temperature_stride", "top_k_stride", "top_p_stride",
    ]
)  # fmt: skip
def total_kernel(
    logits_ptr,  # [N, V]
    index_ptr,  # [A] row of the batch
    temperature_ptr,  # [A], any stride, as are the next two
    top_k_ptr,
    top_p_ptr,
    shares_ptr,  # [A, shares, NT], of which the tiles' largest logits come first
    totals_ptr,  # [A] float32
    V,
    NT,
    logits_stride,
    shares_stride,
    temperature_stride,
    top_k_stride,
    top_p_stride,
    NT_POW2: tl.constexpr,
    W: tl.constexpr,
):
    """Mass of the top_k most probable tokens, where top_p needs it and they are no candidates."""
    a = tl.program_id(0).to(tl.int64)
    top_k = tl.load(top_k_ptr + a * top_k_stride)
    top_p = tl.load(top_p_ptr + a * top_p_stride)
    if (top_k > W) & (top_k < V) & (top_p < NO_TOP_P):
        T = tl.load(temperature_ptr + a * temperature_stride)
        row = logits_ptr + tl.load(index_ptr + a) * logits_stride
        tiles = tl.arange(0, NT_POW2)
        shares = tl.load(shares_ptr + a * shares_stride + tiles, mask=tiles < NT, other=LOWEST)
        largest = tl.max(shares, axis=0)
        key, _, mass, before = find(row, V, top_k - 1, INT_MIN, largest, T, 0.0, True)
        mass += (top_k - before).to(tl.float32) * mass_of(unordered(key), largest, T)
        tl.store(totals_ptr + a, mass)


@triton.jit(
    do_not_specialize=[
        "index_ptr", "temperature_ptr", "top_p_ptr", "min_p_ptr", "num_candidates_ptr",
        "uniforms_ptr", "order_ptr", "counts_ptr", "totals_ptr", "ids_ptr", "ranks_ptr",
        "probs_ptr", "n", "temperature_stride", "top_p_stride", "min_p_stride",
        "num_candidates_stride", "uniforms_stride", "order_stride",
    ]
)  # fmt: skip
def draw_kernel(
    logits_ptr,  # [N, V]
    index_ptr,  # [A] row of the batch
    temperature_ptr,  # [A], any stride, as are the next three
    top_p_ptr,
    min_p_ptr,
    num_candidates_ptr,
    uniforms_ptr,  # [A, n] float32
    order_ptr,  # [A, <= MAX_CANDIDATES] int64: the sorted candidates
    counts_ptr,  # [A] int32: how many they are
    totals_ptr,  # [A] float32: mass that top_p is a share of
    ids_ptr,  # [A, n] int32
    ranks_ptr,  # [A, n] int32
    probs_ptr,  # [A, n] float32
    V,
    n,
    logits_stride,
    temperature_stride,
    top_p_stride,
    min_p_stride,
    num_candidates_stride,
    uniforms_stride,
    order_stride,
):
    a, draw = tl.program_id(0).to(tl.int64), tl.program_id(1)
    row = logits_ptr + tl.load(index_ptr + a) * logits_stride
    T = tl.load(temperature_ptr + a * temperature_stride)
    top_p = tl.load(top_p_ptr + a * top_p_stride)
    min_p = tl.load(min_p_ptr + a * min_p_stride)
    most = tl.load(num_candidates_ptr + a * num_candidates_stride)
    limit = top_p * tl.load(totals_ptr + a)
    count = tl.load(counts_ptr + a)

    rank = tl.arange(0, MAX_CANDIDATES)
    candidate = rank < count
    order = tl.load(order_ptr + a * order_stride + rank, mask=candidate, other=0)
    token = (0xFFFFFFFF - (order & 0xFFFFFFFF)).to(tl.int32)
    key = tl.where(candidate, (order >> 32).to(tl.int32), INT_MIN)
    largest = unordered(tl.max(key, axis=0))
    e = tl.where(candidate, mass_of(unordered(key), largest, T), 0.0)
    keep = candidate & (e >= min_p) & (rank < most) & (tl.cumsum(e, axis=0) - e <= limit)
    e = tl.where(keep, e, 0.0)
    kept = tl.sum(keep.to(tl.int32), axis=0)
    mass = tl.sum(e, axis=0)
    cut, cut_kept = tl.full([], INT_MIN, tl.int32), tl.full([], 0, tl.int32)
    complete = (kept < count) | (count >= tl.minimum(most, V))
    if not complete:
        mass, cut, cut_kept = filtered(row, V, most, top_p, limit, min_p, largest, T)

    target = tl.load(uniforms_ptr + a * uniforms_stride + draw) * mass
    pick = tl.sum((keep & (tl.cumsum(e, axis=0) <= target)).to(tl.int32), axis=0)
    if complete | (pick < kept):
        pick = tl.maximum(tl.minimum(pick, kept - 1), 0)  # a target may round up to the mass
        found = tl.sum(tl.where(rank == pick, token, 0), axis=0)
        share = tl.sum(tl.where(rank == pick, e, 0.0), axis=0)
    else:
        tied, ties, before, pick = find(row, V, target, cut, largest, T, min_p, False)
        ties = tl.where(tied == cut, tl.minimum(ties, cut_kept), ties)
        share = mass_of(unordered(tied), largest, T)
        nth_tie = tl.minimum((target - before) / share, (ties - 1).to(tl.float32)).to(tl.int32)
        nth_tie = tl.maximum(nth_tie, 0)
        found = nth(row, V, tied, nth_tie)
        pick += nth_tie
    tl.store(ids_ptr + a * n + draw, tl.minimum(tl.maximum(found, 0), V - 1))
    tl.store(ranks_ptr + a * n + draw, pick)
    tl.store(probs_ptr + a * n + draw, share / mass)
