"""PrefillAdder: requests that go on from one trace compute its thought once, also where they arrive
together. SGLang prefills those in one batch, in which none finds what another computes."""

from sglang.srt.managers.schedule_policy import AddReqResult


def add_one_req(original, self, req, *args, **kwargs):
    """Leave a request in the queue while another one computes the concept tokens of its prompt: the
    first of them, in this batch or in one that has not come back. Then it finds them in the cache.
    """
    if not getattr(self.tree_cache, "disable", True) and (stop := _computed_until(req)):
        running = (*self.can_run_list, *self.running_batch.reqs)
        if any(_computes(other, req, stop) for other in running):
            return AddReqResult.CONTINUE
    return original(self, req, *args, **kwargs)


def _computed_until(req) -> int:
    """Tokens of its prompt up to the last concept token, if they are not in the cache; else 0."""
    soft = getattr(req, "soft", None)
    if soft is None or req.output_ids:
        return 0
    stop = max(
        (positions.stop for positions, _, _ in soft.trace.fed(0, soft.prompt_len)), default=0
    )
    return stop if req.prefix_len < stop else 0


def _computes(other, req, stop: int) -> bool:
    """Whether the KV of the first `stop` tokens of `req` comes out of the prefill of `other`."""
    mine, theirs = req.full_untruncated_fill_ids, other.full_untruncated_fill_ids
    return (
        not other.output_ids
        and len(theirs) >= stop
        and theirs[stop - 1] == mine[stop - 1]  # a concept's hash: seldom equal by chance
        and (other.extra_key, other.cache_salt) == (req.extra_key, req.cache_salt)
        and theirs[:stop] == mine[:stop]
    )
