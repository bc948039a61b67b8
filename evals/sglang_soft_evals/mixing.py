"""Did a soft method mix? At temperature 0, for example, it feeds one token at every step."""

from collections.abc import Iterable

from sglang_soft_evals.record import Record

NEVER_MIX = ("cot", "coconut_tf", "latent_mas", "later")
"""Methods that feed one token, or no token but a hidden state."""
LEAST_SHARE = 0.01
"""Below it, the report warns: the figures are those of discrete decoding."""


def mixes(method: str | None) -> bool:
    """Whether a thinking method is there to mix tokens. None: discrete."""
    return method is not None and method not in NEVER_MIX


def share(records: Iterable[Record]) -> float | None:
    """Share of all thinking steps that mixed more than one token; None if no record tells."""
    known = [(r.mixed_share, r.thinking_tokens) for r in records if r.mixed_share is not None]
    steps = sum(tokens for _, tokens in known)
    return sum(share * tokens for share, tokens in known) / steps if steps else None


def warning(records: list[Record]) -> str | None:
    """What a reader of these records of one method must know; None if it mixed."""
    mine = [r for r in records if not r.failed and mixes(r.thinking_method)]
    if not mine:
        return None
    if not any(r.thinking_tokens for r in mine):  # such as a prompt without think-start
        return "never thought: its figures are those of discrete decoding"
    if (mixed := share(mine)) is None or mixed >= LEAST_SHARE:
        return None
    return (
        f"mixed more than one token in {100 * mixed:.2g}% of its thinking steps: its figures are "
        "those of discrete decoding (is the temperature of the thinking 0, or top_k 1?)"
    )
