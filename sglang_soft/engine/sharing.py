"""Requests that go on from one trace: the first computes the KV of its thought, and the others wait
until it is in the radix cache.

SGLang prefills requests that arrive together in one batch, where none finds what another computes:
n answers of one thought would compute it n times.
"""

from array import array
from collections.abc import Iterable, Sequence
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from sglang_soft.engine.request import SoftRequest

LOOKED_AT = 512
"""Requests at the head of the queue that are looked at in a round."""

_names: WeakKeyDictionary[SoftRequest, int | None] = WeakKeyDictionary()
_waited: WeakSet[SoftRequest] = WeakSet()


def waiting_for_another(queue: Sequence[Any], running: Iterable[Any]) -> list[Any]:
    """Those of the queue that are not to be prefilled yet.

    A request waits for one before it, in the queue or in a batch that has not come back, whose
    prompt has the same concept tokens. All that waited go on together, whatever became of it.

    Args:
        queue, running: SGLang's `Req`; running: those that were prefilled, in part or in whole.
    """
    computing = {_name(req) for req in running if not req.output_ids} - {None}
    found = []
    for req in queue[:LOOKED_AT]:
        name = None if req.output_ids else _name(req)  # with output it was retracted
        if name is None:
            continue
        if name in computing:
            _waited.add(req.soft)
            found.append(req)
        elif req.soft not in _waited:
            computing.add(name)
    return found


def _name(req) -> int | None:
    """Names the KV up to the last concept token of the prompt; None: the prompt has none."""
    soft: SoftRequest | None = getattr(req, "soft", None)
    if soft is None or soft.request.given is None:
        return None
    if soft not in _names:
        fed = soft.trace.fed(0, soft.prompt_len)
        name = None
        if fed:
            tokens = array("q", req.origin_input_ids)
            soft.rewrite_cache_keys()
            soft.write_cache_keys(tokens, req.rid)
            soft.rewrite_cache_keys()  # SGLang's own array has no key yet
            last = max(positions.stop for positions, _, _ in fed)
            name = hash((tokens[:last].tobytes(), req.extra_key, req.cache_salt))
        _names[soft] = name
    return _names[soft]
