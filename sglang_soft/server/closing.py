"""`closing_text`: its tokens, and whether they fit the bound on thinking tokens."""

from sglang_soft_kernels.sequences import MAX_CLOSING, contains

from sglang_soft.params import KEY, ThinkingParams


def closing_ids(tokenizer, params: ThinkingParams, think_end: tuple[int, ...]) -> tuple[int, ...]:
    """Tokens of `closing_text`.

    tokenizer: None where there is none. think_end: tokens of think-end.

    Raises:
        ValueError: there is no tokenizer, the text has too many tokens or think-end in it, or
            max_thinking_tokens has no room for what a forced end emits.
    """
    ids: tuple[int, ...] = ()
    if text := params.closing_text:
        if tokenizer is None:
            raise ValueError(
                f"{KEY}.closing_text needs a tokenizer, and this server has none "
                f"(--skip-tokenizer-init); got {text[:100]!r}."
            )
        ids = tuple(tokenizer.encode(text, add_special_tokens=False))
        if len(ids) > MAX_CLOSING:
            raise ValueError(
                f"{KEY}.closing_text must be at most {MAX_CLOSING} tokens; got {len(ids)} tokens: "
                f"{text[:100]!r}."
            )
        if contains((*ids, *think_end)[:-1], think_end):
            raise ValueError(f"{KEY}.closing_text must not contain think-end; got {text[:100]!r}.")
    bound, least = params.bound, len(ids) + len(think_end) - 1
    if bound is not None and bound < least:
        key = "max_thinking_tokens" if bound == params.max_thinking_tokens else "stop.tokens"
        raise ValueError(
            f"{KEY}.{key} is out of range (allowed: >= {least}: the closing text is "
            f"{len(ids)} tokens, and think-end {len(think_end)}, the last of which does not "
            f"count); got {bound}."
        )
    return ids
