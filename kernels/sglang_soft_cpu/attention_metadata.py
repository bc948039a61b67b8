"""Which queries meet which KV slots: the tiles of one forward, batched into a few dense groups.

Letters in shapes: n tiles of a group, Q queries of a tile, L keys of a tile, H heads, H_kv
key/value heads, T query tokens of the forward. A *row* is a request's `req_pool_idx`, a *slot* is
an index of the KV pool.

A decode step is one tile a request; a long prompt is cut into several tiles, so that no group
exceeds the memory caps and so that a causal tile reads no key after its own last query.
"""

from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

import torch

QUERIES_PER_TILE = 256  # large enough for matmul, small enough to skip much of the causal square
MAX_GATHERED = 1 << 22  # elements of keys plus values that one group may gather (16 MiB in float32)
MAX_SCORES = 1 << 22  # elements of the score matrix of one group (16 MiB in float32)
SMALL_KEYS = 256  # below this many keys padding is cheaper than one more group


class Span(NamedTuple):
    """The query tokens of one request in one forward."""

    row: int
    q_start: int  # first flat query token
    q_len: int
    position: int  # absolute position of the first query: the tokens before it are cached


class Tile(NamedTuple):
    """Some queries of one request and the keys that they may see: positions [k_start, k_start +
    k_len)."""

    row: int
    q_start: int
    q_len: int
    position: int
    k_start: int
    k_len: int


@dataclass(frozen=True, slots=True)
class Shape:
    """What tiles depend on, apart from the batch. Layers with equal shapes share their groups."""

    heads: int
    kv_heads: int
    kv_width: int  # key head_dim + value head_dim
    causal: bool
    window: (
        int | None
    )  # keys before the query's own that it sees, as in RadixAttention.sliding_window_size
    sliding_pool: (
        bool  # the layer's KV lies in the sliding-window sub-pool, whose slots have other numbers
    )


@dataclass(frozen=True, slots=True)
class Group:
    """Tiles padded to common Q and L. Padding repeats a tile's own last query and key, never
    another request's: a padded query's result is written twice, and a masked key holds no other
    request's NaN."""

    count: int
    queries: int
    keys: int
    q_rows: torch.Tensor | None  # [n * Q] int64 flat query tokens; None: all T of them, in order
    slots: torch.Tensor  # [n * H_kv * L] int64 rows of a KV buffer seen as [slots * H_kv, head_dim]
    bags: torch.Tensor | None  # [n * H, L] `slots` of each query head, where Q = 1
    mask: (
        torch.Tensor | None
    )  # [n, 1, Q, 1, L] float32, 0 or -inf; None: every query sees every key


def spans_of(forward_batch, decode: bool) -> list[Span]:
    """The spans of a `ForwardBatch`, without the empty ones (padding rows have length 0 or row
    0)."""
    rows = forward_batch.req_pool_indices.tolist()
    lens = forward_batch.seq_lens.tolist()
    q_lens = [1] * len(rows) if decode else forward_batch.extend_seq_lens.tolist()
    spans, q_start = [], 0
    for row, length, q_len in zip(rows, lens, q_lens, strict=True):
        if length > 0 and q_len > 0:
            spans.append(Span(row, q_start, q_len, length - q_len))
        q_start += q_len
    return spans


def cut(span: Span, shape: Shape) -> list[Tile]:
    """The tiles of one span; their queries partition the span's."""
    end = span.position + span.q_len
    step = max(1, min(QUERIES_PER_TILE, MAX_SCORES // (shape.heads * end)))
    tiles = []
    for offset in range(0, span.q_len, step):
        q_len = min(step, span.q_len - offset)
        position = span.position + offset
        k_start = 0 if shape.window is None else max(0, position - shape.window)
        k_end = position + q_len if shape.causal else end
        tiles.append(
            Tile(span.row, span.q_start + offset, q_len, position, k_start, k_end - k_start)
        )
    return tiles


def pack(tiles: list[Tile], shape: Shape) -> list[list[Tile]]:
    """Tiles of similar size together: padding at most doubles Q, and L beyond SMALL_KEYS; the caps
    hold for every group of more than one tile."""
    packed: list[list[Tile]] = []
    max_q = 0  # of the last group
    for tile in sorted(tiles, key=lambda t: (t.q_len.bit_length(), t.k_len), reverse=True):
        if packed:
            group = packed[-1]
            count, keys = len(group) + 1, group[0].k_len
            queries = max(tile.q_len, max_q)
            if (
                tile.q_len.bit_length() == group[0].q_len.bit_length()
                and (keys <= SMALL_KEYS or 2 * tile.k_len >= keys)
                and count * keys * shape.kv_heads * shape.kv_width <= MAX_GATHERED
                and count * keys * shape.heads * queries <= MAX_SCORES
            ):
                group.append(tile)
                max_q = queries
                continue
        packed.append([tile])
        max_q = tile.q_len
    return [sorted(group, key=lambda t: t.q_start) for group in packed]


def build(
    tiles: list[Tile],
    shape: Shape,
    tokens: int,
    req_to_token: torch.Tensor,
    slot_map: torch.Tensor | None,
) -> Group:
    """One group of a forward of `tokens` query tokens. req_to_token: [rows, max_context_len] int32;
    slot_map: slot of the full pool to slot of the sliding-window pool, or None."""
    # Columns of [n, 1], so that they broadcast against [n, Q] and [n, L].
    columns = torch.tensor(list(chain.from_iterable(tiles))).view(-1, len(Tile._fields))
    row, q_start, q_len, position, k_start, k_len = columns.unsqueeze(-1).unbind(1)
    n, queries, keys = len(tiles), max(t.q_len for t in tiles), max(t.k_len for t in tiles)

    key = torch.arange(keys)
    entries = row * req_to_token.stride(0) + k_start + torch.minimum(key, k_len - 1)
    slots = req_to_token.view(-1).index_select(0, entries.flatten()).view(n, 1, keys).long()
    if slot_map is not None:
        slots = slot_map[slots].long()
    if shape.kv_heads > 1:
        slots = slots * shape.kv_heads + torch.arange(shape.kv_heads).unsqueeze(1)

    query = torch.minimum(torch.arange(queries), q_len - 1)  # [n, Q]
    q_rows = (q_start + query).flatten()
    seen = (key < k_len).unsqueeze(1)  # [n, 1, L]; all there is to say of a tile of one query
    if queries > 1:
        seen = seen.expand(n, queries, keys)
        if shape.causal:
            back = (position + query).unsqueeze(2) - (k_start + key).unsqueeze(
                1
            )  # how far the key lies back
            seen = seen & (back >= 0)
            if shape.window is not None:
                seen = seen & (back <= shape.window)
    mask = (
        None if seen.all() else torch.where(seen, 0.0, float("-inf")).view(n, 1, queries, 1, keys)
    )

    in_order = q_rows.numel() == tokens and bool((q_rows == torch.arange(tokens)).all())
    bags = (
        slots.unsqueeze(2).expand(-1, -1, shape.heads // shape.kv_heads, -1)
        if queries == 1
        else None
    )
    return Group(
        count=n,
        queries=queries,
        keys=keys,
        q_rows=None if in_order else q_rows,
        slots=slots.flatten(),
        bags=None if bags is None else bags.reshape(n * shape.heads, keys),
        mask=mask,
    )


@dataclass(slots=True)
class ForwardPlan:
    """The groups of one forward, built at the first layer of each shape and shared by the
    others."""

    forward_batch: object  # whose plan this is; compared by identity
    spans: list[Span]
    groups: dict[tuple[Shape, int], list[Group]] = field(default_factory=dict)

    def groups_for(
        self, shape: Shape, tokens: int, req_to_token: torch.Tensor, slot_map: torch.Tensor | None
    ) -> list[Group]:
        """See `build` for the arguments."""
        if (shape, tokens) not in self.groups:
            tiles = [tile for span in self.spans for tile in cut(span, shape)]
            self.groups[shape, tokens] = [
                build(group, shape, tokens, req_to_token, slot_map) for group in pack(tiles, shape)
            ]
        return self.groups[shape, tokens]
