"""Inputs of a prefill: concept tokens that a re-prefill reads from the traces, and decode rows of a
mixed chunked prefill, which read the pool.

No Python loop over steps: a request's steps are one slice of its trace's columns.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from sglang_soft.engine.inputs import EmbedInputs, Read
from sglang_soft.engine.pool import ConceptPool
from sglang_soft.engine.request import SoftRequest
from sglang_soft.trace import Steps


class Span(NamedTuple):
    """The input tokens of one request in a prefill."""

    request: SoftRequest | None
    prefix: int
    """Position of the first one."""
    length: int
    decodes: bool
    """A decode row of a mixed chunked prefill."""


def replay(pool: ConceptPool, spans: Sequence[Span], rows: torch.Tensor) -> EmbedInputs | None:
    """The embedding inputs of a prefill. rows: [N] int64 rows of the pool.

    Returns:
        None: every input is a plain token.
    """
    slices: list[tuple[Steps, slice]] = []
    token_rows: np.ndarray = np.zeros(sum(span.length for span in spans), np.int64)
    tails: list[tuple[int, int]] = []  # (input token, row of the batch) of decode rows
    at, size = 0, 1  # row 0 of the table is the plain token
    for i, span in enumerate(spans):
        if span.request and span.decodes:
            tails.append((at, i))
        elif span.request:
            for positions, steps, rows_of in span.request.trace.fed(
                span.prefix, span.prefix + span.length
            ):
                first, count = at + positions.start - span.prefix, len(positions)
                token_rows[first : first + count] = np.arange(size, size + count)
                slices.append((steps, rows_of))
                size += count
        at += span.length
    if not slices and not tails:
        return None

    k = max([steps.k for steps, _ in slices], default=1) if not tails else pool.k
    ids: np.ndarray = np.zeros((size, k), np.int32)
    weights: np.ndarray = np.zeros((size, k), np.float32)
    at = 1
    for steps, rows_of in slices:
        stop = at + rows_of.stop - rows_of.start
        ids[at:stop, : steps.k] = steps.ids_of(rows_of)
        weights[at:stop, : steps.k] = steps.weights_of(rows_of)
        at = stop
    table = [pool.upload(torch.from_numpy(ids)), pool.upload(torch.from_numpy(weights))]
    live = [pool.ids[:, :k], pool.weights[:, :k]]
    feeds = any(steps.offset_bytes for steps, _ in slices)
    feeds |= any(
        s.request is not None and s.decodes and s.request.method.feeds_offset for s in spans
    )
    if feeds:
        table += _offsets(pool, slices, size)
        live += [pool.with_offsets(), pool.has_offset]
    for row, (token, _) in enumerate(tails, size):
        token_rows[token] = row
    if tails:
        tail_rows = rows[pool.upload(torch.tensor([i for _, i in tails]))]
        table = [torch.cat([old, now[tail_rows]]) for old, now in zip(table, live, strict=True)]
    return EmbedInputs(pool.upload(torch.from_numpy(token_rows)), *table)


def readings(spans: Sequence[Span]) -> list[Read]:
    """What requests read of the logits of a prefill."""
    found, at = [], 0
    for span in spans:
        reading = None if span.request is None else span.request.reading
        if reading is not None:
            first = max(span.prefix, reading.first)
            stop = min(span.prefix + span.length, reading.stop)
            if first < stop:
                tokens = slice(at + first - span.prefix, at + stop - span.prefix)
                found.append(Read(reading, first, tokens))
        at += span.length
    return found


def _offsets(pool: ConceptPool, slices: list[tuple[Steps, slice]], size: int) -> list:
    """[size, H] offsets and [size] whether a concept has one."""
    raw: np.ndarray = np.zeros((size, pool.hidden_size * pool.dtype.itemsize), np.uint8)
    has: np.ndarray = np.zeros(size, np.bool_)
    at = 1
    for steps, rows in slices:
        stop = at + rows.stop - rows.start
        if steps.offset_bytes:
            raw[at:stop] = steps.offsets[rows]
            has[at:stop] = True
        at = stop
    return [pool.upload(torch.from_numpy(raw).view(pool.dtype)), pool.upload(torch.from_numpy(has))]
