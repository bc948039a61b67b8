"""What `sglang-soft ask` says of a whole answer: a summary, or one JSON object."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.text import Text

from sglang_soft.client import Answer
from sglang_soft.terminal.colours import bars, legend
from sglang_soft.trace import Trace
from sglang_soft.view.visible import visible

Texts = Callable[[Sequence[int]], list[str]]
"""Of single tokens."""


def _rows(answer: Answer, seconds: float, saved: str | None) -> list[tuple[str, str]]:
    """seconds: from the request to the last token."""
    s, tokens = answer.summary, answer.tokens
    assert s is not None
    thought = f"{s.thinking_tokens} tokens, ended by {s.thinking_finish_reason or 'nothing'}"
    mixed = "" if s.mixed_share is None else f", {s.mixed_share:.0%} of them mixed"
    rows = [("method", s.method if s.seed is None else f"{s.method}, seed {s.seed}")]
    rows += [("thought", thought + mixed)]
    if s.mean_entropy is not None:
        last = "" if s.final_entropy is None else f", last {s.final_entropy:.3f}"
        rows += [("entropy", f"mean {s.mean_entropy:.3f} nats{last}")]
    rows += [("answer", f"{s.answer_tokens} tokens, ended by {answer.finish_reason}")]
    rate = f", {tokens.completion / seconds:.0f} tokens/s" if tokens.completion else ""
    rows += [("time", f"{seconds:.2f} s{rate}")]
    if answer.kept is not None:
        rows += [("kept", f"{answer.kept.id} for {answer.kept.expires_in:.0f} s")]
    return rows + ([("saved", saved)] if saved else [])


def print_whole(
    console: Console, answer: Answer, trace: Trace, seconds: float, saved: str | None
) -> None:
    """All of the thought's entropies, the summary, and what the colours mean."""
    entropies = trace.entropy.tolist()
    if entropies:
        label = f"entropy, up to {max(entropies):.2f} nats "
        room = max(8, console.width - len(label))
        console.print(
            Text.assemble((label, "dim"), (bars(entropies, room), "cyan")), soft_wrap=True
        )
    for name, value in _rows(answer, seconds, saved):
        # A file name is not cut at the width of the terminal.
        console.print(Text.assemble((f"{name:<9}", "dim"), visible(value)), soft_wrap=True)
    if console.is_terminal and console.color_system and not console.no_color and entropies:
        console.print(legend())


def to_json(
    question: str, answer: Answer, trace: Trace, texts: Texts, seconds: float, saved: str | None
) -> dict[str, Any]:
    """texts: of tokens. `steps`: of the thought, each with the token that was emitted, the
    entropy in nats, and the candidates with their weights."""
    s = answer.summary
    assert s is not None
    first = 0 if trace.start is None else trace.start - len(trace.prompt_ids)
    steps = []
    for i in range(len(trace.steps)):
        concept, ids = trace.concept(i), trace.steps.ids[i]
        emitted = int(trace.output_ids[first + i])
        count = len(concept.ids)
        pieces = texts([emitted, *map(int, ids[:count])])
        weights = map(float, concept.weights)
        steps.append(
            {
                "text": pieces[0],
                "entropy": concept.entropy,
                "candidates": [list(pair) for pair in zip(pieces[1:], weights, strict=True)],
            }
        )
    return {
        "question": question,
        "text": answer.text,
        "finish_reason": answer.finish_reason,
        "summary": {name: value for name, value in asdict(s).items() if value is not None},
        "tokens": asdict(answer.tokens),
        "seconds": round(seconds, 3),
        "kept": None if answer.kept is None else asdict(answer.kept),
        "saved": saved,
        "steps": steps,
    }
