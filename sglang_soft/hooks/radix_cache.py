"""UnifiedRadixCache: the prompt of a request that goes on from a trace has concept tokens in it."""


def checkpoint_into_tree(original, self, req, *args, **kwargs) -> None:
    """SGLang inserts fill ids, which have cache keys, and then splits the leaf where the prompt
    ends, by the prompt's token ids: those have to be the same keys, or KV is freed twice."""
    soft = getattr(req, "soft", None)
    if soft is None or not soft.trace.fed(0, soft.prompt_len):
        return original(self, req, *args, **kwargs)
    prompt = req.origin_input_ids
    req.origin_input_ids = req.full_untruncated_fill_ids[: len(prompt)]
    try:
        return original(self, req, *args, **kwargs)
    finally:
        req.origin_input_ids = prompt
