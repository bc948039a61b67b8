"""Keys of concept tokens in SGLang's radix cache and fill ids: 62-bit hashes of their content.

A key depends on content only, so tensor-parallel ranks agree, equal concepts share their KV, and
no other request can match the KV of a concept by token ids. Keys are above every token id and
below 2**63, because SGLang keeps ids as signed 64-bit integers.
"""

from array import array
from hashlib import blake2b

import numpy as np

from sglang_soft.trace import Steps

_KEY_BIT = 1 << 62


def cache_key(ids: np.ndarray, weights: np.ndarray, offset: bytes = b"") -> int:
    """The key of a concept. ids: [c] int32, weights: [c] float32, unused slots left out.

    One token of weight 1 without an offset is that token: its KV has the token's own id, as SGLang
    itself would call it.
    """
    if not offset and len(weights) == 1 and weights[0] == 1:
        return int(ids[0])
    return _hash(ids.tobytes() + weights.tobytes() + offset)


def cache_keys(steps: Steps, first: int = 0, stop: int | None = None) -> array:
    """Keys of the steps [first, stop), signed 64-bit. A microsecond or two each: those of a trace
    that a request brings are computed in the front end."""
    of = slice(first, stop)
    ids, weights, offsets = steps.ids_of(of), steps.weights_of(of), steps.offsets[of]
    has_offset = np.any(offsets, axis=1).tolist()
    keys = array("q")
    for at, size in enumerate(np.count_nonzero(weights, axis=1).tolist()):
        offset = offsets[at].tobytes() if has_offset[at] else b""
        keys.append(cache_key(ids[at, :size], weights[at, :size], offset))
    return keys


def unmatchable_cache_key(rid: str, position: int) -> int:
    """The key of a position whose concept the host does not know yet: equal on all ranks, matched
    by no other request."""
    return _hash(b"unknown" + rid.encode() + position.to_bytes(8, "little"))


def _hash(content: bytes) -> int:
    digest = blake2b(content, digest_size=8).digest()
    return int.from_bytes(digest, "little") & (_KEY_BIT - 1) | _KEY_BIT
