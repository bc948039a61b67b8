"""Req: host-side state of a soft request, and the cache keys of its concept tokens."""

from sglang_soft import params, resolve
from sglang_soft.engine.request import SoftRequest


def after_init(_result, self, *args, **kwargs) -> None:
    """`req.soft`: a SoftRequest, or None on a discrete request."""
    encoded = (self.sampling_params.custom_params or {}).get(params.KEY)
    self.soft = None
    if encoded:
        self.soft = SoftRequest(resolve.decode(encoded), len(self.origin_input_ids))


def refresh_fill_ids(original, self) -> None:
    """Cache keys in place of output ids, in what is both radix key and re-prefill source.

    SGLang appends new output ids to the array or builds it anew; either way only the part that it
    just wrote holds output ids.
    """
    soft: SoftRequest | None = self.soft
    if soft is None:
        return original(self)
    before = self.full_untruncated_fill_ids
    original(self)
    if self.full_untruncated_fill_ids is not before:
        soft.rewrite_cache_keys()
    soft.write_cache_keys(self.full_untruncated_fill_ids, self.rid)
    return None
