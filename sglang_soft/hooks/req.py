"""Req: host-side state of a soft request, and the names of its KV."""

from sglang_soft import params
from sglang_soft.request import SoftRequest
from sglang_soft.wire import SoftParams


def after_init(_result, self, *args, **kwargs) -> None:
    """`req.soft`: a SoftRequest, or None on a hard request."""
    wire = (self.sampling_params.custom_params or {}).get(params.KEY)
    self.soft = SoftRequest(SoftParams.from_wire(wire)) if wire else None


def refresh_fill_ids(original, self) -> None:
    """Concept keys in place of the readable ids, in what is both radix key and re-prefill source.

    SGLang appends new output ids to the array or builds it anew; either way only the part that it
    just wrote holds readable ids.
    """
    soft: SoftRequest | None = self.soft
    if soft is None:
        return original(self)
    before = self.full_untruncated_fill_ids
    original(self)
    if self.full_untruncated_fill_ids is not before:
        soft.named = 0
    soft.name(self.full_untruncated_fill_ids, len(self.origin_input_ids), self.rid)
    return None
