"""What has to be the same, bit for bit, of two answers to one request."""


def bits(out: dict) -> tuple:
    """Output tokens, and the ids, weights and entropy of every thinking step. JSON keeps every bit
    of a float32."""
    trace = out["meta_info"].get("soft_thinking", {}).get("trace", {})
    return out["output_ids"], *(trace.get(name) for name in ("ids", "weights", "entropy"))


def first_difference(a: tuple, b: tuple) -> int | None:
    """First output token or thinking step in which two results of `bits` differ."""
    steps = [zip(*columns, strict=True) for columns in (filter(None, a), filter(None, b))]
    return next((i for i, (x, y) in enumerate(zip(*steps, strict=False)) if x != y), None)
