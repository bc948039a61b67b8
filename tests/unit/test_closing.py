import pytest
from sglang_soft_kernels.sequences import advance, failure

from sglang_soft import methods
from sglang_soft.server.closing import closing_ids
from tests.models import tiny

TOKENIZER = tiny.build_tokenizer()
END = (TOKENIZER.convert_tokens_to_ids("</think>"),)


def ids(end: tuple[int, ...] = END, tokenizer=TOKENIZER, **params) -> tuple[int, ...]:
    return closing_ids(tokenizer, methods.get("soft").Params(**params), end)


def test_the_tokens_of_a_closing_text():
    assert ids() == ids(closing_text="") == ()
    assert ids(closing_text="So: ") == tuple(TOKENIZER.encode("So: "))
    assert len(ids(closing_text="x" * 64, max_thinking_tokens=64)) == 64


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"closing_text": "x" * 65}, ["closing_text", "at most 64", "got 65"]),
        ({"closing_text": "a</think>b"}, ["closing_text", "think-end", "'a</think>b'"]),
        ({"closing_text": "ab", "tokenizer": None}, ["closing_text", "tokenizer", "'ab'"]),
        ({"closing_text": "abc", "max_thinking_tokens": 2}, ["max_thinking_tokens", ">= 3", "got 2"]),
        ({"end": (1, 2, 3), "max_thinking_tokens": 1}, ["max_thinking_tokens", ">= 2", "got 1"]),
    ],
)  # fmt: skip
def test_errors_name_key_value_and_range(params, words):
    with pytest.raises(ValueError) as error:
        ids(**params)
    assert all(word in str(error.value) for word in words), error.value


def test_a_closing_text_whose_end_makes_think_end_come_early():
    a, b = TOKENIZER.encode("ab")
    assert ids(end=(a, a, b), closing_text="b") == (b,)
    with pytest.raises(ValueError, match="must not contain think-end"):
        ids(end=(a, a), closing_text="ba")


@pytest.mark.parametrize(
    "sequence", [(1,), (1, 2), (1, 1, 2), (1, 2, 1, 2, 3), (1, 2, 1, 1, 2, 1, 3)]
)
def test_matching_is_that_of_the_longest_suffix(sequence):
    borders, matched, output = failure(sequence), 0, []
    for token in (1, 1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 2, 1, 2, 1, 2, 5, 1, 2):
        output.append(token)
        longest = max(
            n for n in range(len(sequence) + 1) if tuple(output[len(output) - n :]) == sequence[:n]
        )
        matched = advance(sequence, borders, matched, token)
        assert matched == longest
        if matched == len(sequence):
            matched, output = 0, []
