"""What the traces of a tiny model look like: run this after a change of seeds, gains or scales.

python -c "from tests.models.describe import describe; describe('qwen3', '/tmp/models')"
"""

import torch

from tests.models import tiny
from tests.oracle import Request, Trace, run


def traces(model, tokenizer, **changes) -> dict[str, Trace]:
    """The oracle's trace of each of `tiny.PROMPTS`; `changes` are fields of `Request`."""
    start, end = tokenizer.convert_tokens_to_ids(tiny.THINK)
    changes = {"max_new_tokens": 80, "eos_ids": frozenset([tokenizer.eos_token_id])} | changes
    request = Request(think_start_id=start, think_end_id=end, **changes)
    return {name: run(model, tiny.prompt_ids(tokenizer, name), request) for name in tiny.PROMPTS}


def drift(trace: Trace, exact: Trace) -> float:
    """Largest difference of a weight or an entropy between two traces with the same tokens, else
    infinity."""
    if trace.output_ids != exact.output_ids or [s.ids for s in trace.steps] != [
        s.ids for s in exact.steps
    ]:
        return float("inf")
    pairs = [p for a, b in zip(trace.steps, exact.steps) for p in zip(a.weights, b.weights)]
    pairs += zip(trace.entropies, exact.entropies)
    return max((abs(a - b) for a, b in pairs), default=0.0)


def describe(family: str, directory: str, **changes) -> None:
    """Print, for each prompt: how the thinking went, its entropies, slots used, distinct tokens,
    the closest decision, the largest difference between float32 and float64, and the text."""
    path = tiny.build(family, directory)
    model, tokenizer = tiny.load(path)
    exact = traces(tiny.load(path, torch.float64)[0], tokenizer, **changes)
    for name, trace in traces(model, tokenizer, **changes).items():
        margin, decision, position = trace.smallest_margin
        low, high = min(trace.entropies, default=0), max(trace.entropies, default=0)
        slots = sum(len(s.ids) for s in trace.steps) / max(1, len(trace.steps))
        print(
            f"{family} {name:6} first {trace.first_step} thinking {trace.thinking_tokens} {trace.ended}"
            f" answer {trace.answer_tokens} {trace.finish}; H {low:.2f}..{high:.2f}, {slots:.1f} slots,"
            f" {len(set(trace.output_ids))} distinct; margin {margin:.0e} ({decision} at {position}),"
            f" drift {drift(trace, exact[name]):.0e}; {tokenizer.decode(trace.output_ids)!r}"
        )
