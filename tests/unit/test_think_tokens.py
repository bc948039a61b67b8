import pytest

from sglang_soft.server.settings import Settings
from sglang_soft.server.think_tokens import ThinkTokens, resolve_think_tokens, starts_thinking
from tests.models import tiny

TOKENS = ThinkTokens(start=1, end=2)


@pytest.mark.parametrize(
    ("prompt", "open_"),
    [([], False), ([5, 6], False), ([1], True), ([5, 1, 6, 7], True), ([1, 5, 2], False), ([1, 2, 1], True),
     ([2, 1], True), ([1, 1, 2, 5], False)],
)  # fmt: skip
def test_a_prompt_ends_inside_an_open_think_block(prompt, open_):
    assert starts_thinking(prompt, TOKENS) is open_


def test_without_a_think_start_token_no_prompt_is_open():
    assert not starts_thinking([1, 5], ThinkTokens(start=None, end=2))


def test_defaults_flags_and_ids():
    tokenizer = tiny.build_tokenizer()
    start, end = tokenizer.convert_tokens_to_ids(["<think>", "</think>"])
    assert resolve_think_tokens(tokenizer, None, Settings(), 10_000) == (start, end)
    assert (
        resolve_think_tokens(tokenizer, None, Settings(think_start="a", think_end="7"), 10_000)[1]
        == 7
    )
    assert resolve_think_tokens(None, None, Settings(think_start="3", think_end="4"), 5) == (3, 4)


def test_a_think_token_must_be_one_token():
    with pytest.raises(ValueError, match=r"--soft-think-end.*'</thought>'.*tokens"):
        resolve_think_tokens(tiny.build_tokenizer(), None, Settings(think_end="</thought>"), 10_000)
    with pytest.raises(ValueError, match="skip-tokenizer-init"):
        resolve_think_tokens(None, None, Settings(), 200)
    with pytest.raises(ValueError, match=r"--soft-think-end .* in \[0, 4\]; got 5"):
        resolve_think_tokens(None, None, Settings(think_start="3", think_end="5"), 5)
