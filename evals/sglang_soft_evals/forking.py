"""Several answers of one thought (`answers_per_thought`): one request thinks, the others go on from
its trace, which the server keeps, and each has a seed of its own.

The tokens of a thought count once, with its first answer.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sglang_soft.trace import THINK_END_REASONS

THOUGHT = {"keep": True, "max_answer_tokens": 0}
"""Keys of `soft_thinking` in the request that thinks."""


def answer(thought: Mapping[str, Any], handle: str, seed: int, spent: int) -> dict[str, Any]:
    """The request of an answer.

    Args:
        thought: the request of its thought.
        handle: of the trace.
        spent: tokens that the thought took of the bound of both.
    """
    soft = {k: v for k, v in thought["custom_params"]["soft_thinking"].items() if k not in THOUGHT}
    soft |= {"trace": handle, "at": "answer"}
    left = max(1, thought["max_tokens"] - spent)
    custom = {"custom_params": {"soft_thinking": soft}}
    return {**thought, "seed": seed, "max_tokens": left, **custom}


def kept(completion: Mapping[str, Any]) -> str | None:
    """The handle of the trace in a completion; None: there is none."""
    handle = (_summary(completion).get("kept") or {}).get("id")
    return handle if isinstance(handle, str) else None


def handle_of(completion: Mapping[str, Any]) -> str | None:
    """The handle of a thought that has ended, so that an answer can follow."""
    ended = _summary(completion).get("thinking_finish_reason") in THINK_END_REASONS.values()
    return kept(completion) if ended else None


def without_answers(thought: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """The outcomes of `count` answers of a thought that failed or was cut: its own."""
    free = {"thinking_tokens": 0, "answer_tokens": 0, "completion_tokens": 0, "reasoning": ""}
    return [dict(thought), *({**thought, **free} for _ in range(count - 1))]


def joined(
    thought: Mapping[str, Any], answers: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The outcomes of answers (`sample.outcome`), with their thought in the first one that did not
    fail."""
    rows: list[dict[str, Any]] = []
    paid = False
    for found in answers:
        row = dict(found)
        if row["status"] != "failed":
            # All of the text is the answer, whatever a reasoning parser took it for.
            row["text"] = f"{row['reasoning']}{row['text']}".strip()
            row |= {"reasoning": "", "thinking_tokens": 0}
            if not paid:
                names = ("reasoning", "thinking_tokens")
                row |= {name: thought[name] for name in names}
                for name in ("completion_tokens", "latency_s"):
                    row[name] += thought[name]
            paid = True
        rows.append(row)
    return rows


def _summary(completion: Mapping[str, Any]) -> Mapping[str, Any]:
    """`meta_info.soft_thinking`; empty: there is none, or no completion."""
    found: Any = completion
    try:
        found = completion["choices"][0]["meta_info"]["soft_thinking"]
    except (KeyError, IndexError, TypeError):
        return {}
    return found if isinstance(found, Mapping) else {}
