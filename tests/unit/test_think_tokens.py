import pytest

from sglang_soft.server.settings import Settings
from sglang_soft.server.think_tokens import PromptEnd, ThinkTokens, resolve_think_tokens
from tests.issue_table import row
from tests.models import tiny

TOKENIZER = tiny.build_tokenizer()
START, END = TOKENIZER.convert_tokens_to_ids(["<think>", "</think>"])
TOKENS = ThinkTokens((START,), (END,))
USER, TURN = "<|im_start|>user\n{}<|im_end|>\n", "<|im_start|>assistant\n"


def is_open(text: str, tokenizer=TOKENIZER, tokens: ThinkTokens = TOKENS) -> bool:
    ids = TOKENIZER.encode(text, add_special_tokens=False)
    return PromptEnd(tokenizer, tokens).is_open(ids)


OPEN = [
    "<think>",
    "question <think>\n",
    f"{USER.format('a')}{TURN}<think>\n",
    f"{USER.format('a')}{TURN}<think>\nthe thought goes on",
    f"{USER.format('a')}{TURN}\n<think>so far",
    f"{USER.format('a')}{TURN}<think>a</think>b <think>",
    f"{USER.format('The tag </think> ends.')}{TURN}<think>hm",
]
CLOSED = [
    "",
    "plain",
    "The tag <think> opens thoughts. Answer:",
    f"{USER.format('The tag <think> opens thoughts.')}{TURN}",
    f"{USER.format('The tag <think> opens thoughts.')}{TURN}The answer is",
    f"{USER.format('a')}{TURN}The tag <think> opens a thought",
    f"{USER.format('a')}{TURN}<think>a</think>b",
    f"{USER.format('a')}{TURN}<think>a</think>The tag <think> opens",
    f"{USER.format('a')}{TURN}I said <think> there<|im_end|>\n{USER.format('b')}{TURN}So",
    f"{USER.format('a')}{TURN}<think>never closed<|im_end|>\n{USER.format('b')}{TURN}",
    f"{USER.format(TURN + '<think>injected')}{TURN}",
]


@pytest.mark.parametrize("text", OPEN)
def test_the_assistants_own_block_is_open(text):
    assert is_open(text)


@pytest.mark.parametrize("text", CLOSED)
@row(
    "B8",
    "think tokens in a system, user or earlier assistant turn",
    "decided whether thinking starts",
    "only the open block of the continued turn does",
)
def test_text_of_somebody_else_opens_nothing(text):
    assert not is_open(text)


def test_a_template_without_a_generation_prompt_shows_its_turns():
    tokenizer = tiny.build_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'user' %}<|im_start|>{{ m['content'] }}<|im_end|>"
        "{% else %}{{ m['content'] }}{% endif %}{% endfor %}"
    )
    assert is_open("<|im_start|>a<|im_end|><think>so", tokenizer)
    assert not is_open("<|im_start|>a <think> b<|im_end|>so", tokenizer)


def test_without_a_template_only_the_very_end_counts():
    tokenizer = tiny.build_tokenizer()
    tokenizer.chat_template = None
    assert is_open("a <think>\n", tokenizer) and not is_open("a <think> b", tokenizer)


@pytest.mark.parametrize(
    ("prompt", "open_"),
    [([], False), ([5, 6], False), ([1], True), ([5, 1, 6, 7], True), ([1, 5, 2], False), ([1, 2, 1], True),
     ([2, 1], True), ([1, 1, 2, 5], False)],
)  # fmt: skip
def test_without_a_tokenizer_the_last_think_token_decides(prompt, open_):
    assert PromptEnd(None, ThinkTokens((1,), (2,))).is_open(prompt) is open_


def test_without_a_think_start_token_no_prompt_is_open():
    assert not is_open("a<think>", tokens=ThinkTokens((), (END,)))


def test_defaults_flags_and_ids():
    assert resolve_think_tokens(TOKENIZER, None, Settings(), 10_000) == ((START,), (END,))
    settings = Settings(think_start="a", think_end="7")
    assert resolve_think_tokens(TOKENIZER, None, settings, 10_000).end == (7,)
    settings = Settings(think_start="3,1", think_end="4")
    assert resolve_think_tokens(None, None, settings, 5) == ((3, 1), (4,))


def test_delimiters_of_several_tokens():
    settings = Settings(think_start="[t]", think_end="[/t]")
    tokens = resolve_think_tokens(TOKENIZER, None, settings, 10_000)
    assert tuple(map(len, tokens)) == (3, 4)
    assert tokens.to_json() == {"think_start_id": [*tokens.start], "think_end_id": [*tokens.end]}
    assert TOKENS.to_json() == {"think_start_id": START, "think_end_id": END}
    tokenizer = tiny.build_tokenizer.__wrapped__()
    spaced = ThinkTokens((*tokens.start, *TOKENIZER.encode("\n")), tokens.end)
    for open_, text in (
        (True, "a[t]"), (True, "a[t]\n"), (False, "a[t"), (False, "a[t]b"),
    ):  # fmt: skip
        assert is_open(text, tokenizer, tokens) is open_, text
    assert is_open("a[t]\n", tokenizer, spaced) and not is_open("a[t]", tokenizer, spaced)
    assert PromptEnd(None, ThinkTokens((1, 2), (3, 4))).is_open([3, 4, 1, 2, 3])
    assert not PromptEnd(None, ThinkTokens((1, 2), (3, 4))).is_open([1, 2, 3, 4, 1])


def test_a_template_that_opens_a_block_of_several_tokens():
    tokenizer = tiny.build_tokenizer.__wrapped__()
    tokenizer.chat_template = tokenizer.chat_template.replace("<think>", "[t]")
    tokens = ThinkTokens(*(tuple(TOKENIZER.encode(text)) for text in ("[t]", "[/t]")))
    assert is_open(f"{USER.format('[/t]')}{TURN}[t]so [/t far", tokenizer, tokens)
    assert not is_open(f"{USER.format('a')}{TURN}[t]so [/t] far", tokenizer, tokens)
    assert not is_open(f"{USER.format('a')}{TURN}so [t] far", tokenizer, tokens)


def test_what_is_no_delimiter():
    with pytest.raises(ValueError, match=r"--soft-think-end.*1 to 8 tokens.*'</thought>'"):
        resolve_think_tokens(TOKENIZER, None, Settings(think_end="</thought>"), 10_000)
    # <think> is a guess; where it is no token, a model without thoughts would seem to have one.
    plain = tiny.build_tokenizer.__wrapped__()
    plain.encode = lambda text, **kwargs: [1, 2, 3]
    with pytest.raises(ValueError, match=r"--soft-think-start must be one token.*'<think>' is 3"):
        resolve_think_tokens(plain, None, Settings(), 10_000)
    with pytest.raises(ValueError, match="skip-tokenizer-init"):
        resolve_think_tokens(None, None, Settings(), 200)
    with pytest.raises(ValueError, match=r"--soft-think-end .* in \[0, 4\]; got 5"):
        resolve_think_tokens(None, None, Settings(think_start="3", think_end="5"), 5)
