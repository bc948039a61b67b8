"""What a completion says about tokens, text and ending."""

import pytest
from sglang_soft_evals.sample import outcome

from tests.evals.fake_server import completion


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (completion("a b"), ("ok", None, 3, 2, "stop_token")),
        (completion("a b", method="moi"), ("ok", "moi", 3, 2, "stop_token")),
        (completion("", thinking=8, finish="length"), ("truncated", None, 9, 0, "length")),
        (completion("a b", finish="abort"), ("failed", None, 0, 0, None)),
        (completion("a b", thinking=-1), ("ok", None, 0, 2, None)),
        # SGLang counts reasoning tokens until think-end comes, also where nothing was thought.
        (completion("a b", reasoning="", thinking=4), ("ok", None, 0, 7, None)),
    ],
)
def test_tokens_are_counted_alike_with_and_without_soft_thinking(answer, expected):
    record = outcome(answer[1])
    names = ("status", "thinking_method", "thinking_tokens", "answer_tokens")
    assert tuple(record[name] for name in (*names, "thinking_finish_reason")) == expected


def test_thinking_is_split_off_if_the_server_has_no_reasoning_parser():
    record = outcome(completion("so it is 4</think>Answer: 4", reasoning="")[1])
    assert (record["reasoning"], record["text"]) == ("so it is 4", "Answer: 4")


def cut(method: str | None, reason: str) -> dict:
    """A thought that did not end, from a server without a reasoning parser."""
    answer = completion("so it is 4, no", method=method, reasoning="", finish="length")[1]
    if method is not None:
        answer["choices"][0]["meta_info"]["soft_thinking"]["thinking_finish_reason"] = reason
    return answer


def test_a_thought_that_was_cut_is_no_answer():
    for reason in ("length", "abort", "stop"):
        record = outcome(cut("soft", reason))
        assert (record["reasoning"], record["text"]) == ("so it is 4, no", "")
    thinks, plain = (outcome(cut(None, ""), thinks=thinks) for thinks in (True, False))
    assert (thinks["reasoning"], thinks["text"]) == ("so it is 4, no", "")
    assert plain["text"] == "so it is 4, no", "nothing is known of a thought"
    for reason in ("stop_token", "cold_stop", "max_thinking_tokens", "method"):
        assert outcome(cut("soft", reason))["text"], "this thought had ended"


@pytest.mark.parametrize(
    "broken", [{"choices": [{}]}, {"choices": []}, {"choices": None}, {"choices": [None]}]
)
def test_an_answer_that_is_no_completion_is_named(broken):
    with pytest.raises(ValueError, match="no chat completion"):
        outcome(broken)


def test_an_error_is_kept_as_it_is():
    record = outcome({"error": "HTTP 503: busy", "status": 503})
    assert (record["status"], record["error"]) == ("failed", "HTTP 503: busy")


def test_an_answer_of_another_version_of_the_plugin_is_named():
    answer = completion("a b", method="soft")[1]
    soft = answer["choices"][0]["meta_info"]["soft_thinking"]
    soft["how_ended"] = soft.pop("thinking_finish_reason")
    with pytest.raises(ValueError, match="lacks thinking_finish_reason: .* another version of the"):
        outcome(answer)
