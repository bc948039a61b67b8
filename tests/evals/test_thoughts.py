"""What is graded is the answer and nothing else; and tokens are counted by its side of think-end."""

import time

import pytest
from sglang_soft_evals import run
from sglang_soft_evals.counting import ThinkTokens
from sglang_soft_evals.sample import outcome
from sglang_soft_evals.thoughts import TAGS, clean, is_open, split

from tests.evals.fake_server import completion, probe, serving, soft
from tests.evals.runs import samples, small
from tests.issue_table import case, row

OPEN, CLOSED = ThinkTokens(True, (4,), (5,)), ThinkTokens(False, (4,), (5,))
START, END, EOS = 4, 5, 2


def answer(text, ids, *, reasoning="", reported=0, finish="stop", method=None, **more):
    """A completion whose output tokens are `ids`."""
    _, made = completion(text, finish=finish, reasoning=reasoning, method=method, **more)
    choice = made["choices"][0]
    choice["response_token_ids"], choice["meta_info"]["reasoning_tokens"] = ids, reported
    made["usage"] = {"completion_tokens": len(ids)}
    return made


CUT, WHOLE = "so 4 or 5", "so it is 4</think>\nAnswer: 4"
THOUGHT = [10, 11, 12]


@pytest.mark.parametrize(
    ("made", "think", "text", "thinking", "answered", "reason"),
    [
        case("C16", "no reasoning parser, thought cut by max_tokens",
             "graded as the answer", "no answer; all tokens are thinking",
             answer(CUT, THOUGHT, finish="length"), OPEN, "", 3, 0, "length"),
        case("C16", "no reasoning parser, end of sequence inside the thought",
             "graded as the answer", "no answer",
             answer(CUT, [*THOUGHT, EOS]), OPEN, "", 4, 0, "stop"),
        case("C16", "no reasoning parser, whole thought", "0 thinking, 6 answer", "3 and 2",
             answer(WHOLE, [*THOUGHT, END, 20, EOS]), OPEN, "\nAnswer: 4", 3, 2, "stop_token"),
        case("C16", "the model opens the thought itself", "0 thinking, 7 answer", "3 and 2",
             answer(f"<think>{WHOLE}", [START, *THOUGHT, END, 20, EOS]), CLOSED, "\nAnswer: 4",
             3, 2, "stop_token"),
        case("C16", "it opens the thought itself, and is cut", "graded as the answer", "no answer",
             answer(f"<think>{CUT}", [START, *THOUGHT], finish="length"), CLOSED, "", 3, 0,
             "length"),
        case("C16", "parser waits for a thought that never starts", "2 thinking, 0 answer",
             "0 and 2", answer("Answer: 4", [20, EOS], reported=2), CLOSED, "Answer: 4", 0, 2,
             None),
        case("C16", "the same, from a server that sends no tokens", "2 thinking, 0 answer",
             "0 and 2", answer("Answer: 4", [20, EOS], reported=2) | {"x": 1}, ThinkTokens(),
             "Answer: 4", 0, 2, None),
        case("C16", "thought cut, with a parser", "3 and 0", "3 and 0",
             answer("", THOUGHT, reasoning=CUT, reported=3, finish="length"), OPEN, "", 3, 0,
             "length"),
        case("C16", "a parser that does not expect an open thought, thought cut",
             "graded as the answer", "no answer",
             answer(CUT, THOUGHT, reported=3, finish="length"), OPEN, "", 3, 0, "length"),
        case("C16", "delimiters that are not <think>", "2 and 2", "2 and 2",
             answer("Answer: 4", [90, 91, 92, 20, EOS], reasoning="so", reported=3), CLOSED,
             "Answer: 4", 2, 2, "stop_token"),
        case("C16", "soft thought cut, no parser", "graded as the answer", "no answer",
             answer(CUT, THOUGHT, finish="length", method="soft", thinking=3)
             | {"answer_tokens": 0}, ThinkTokens(), "", 3, 0, "stop_token"),
    ],
)  # fmt: skip
def test_answer_and_counts(made, think, text, thinking, answered, reason):
    if made.pop("answer_tokens", None) == 0:
        made["choices"][0]["meta_info"]["soft_thinking"]["answer_tokens"] = 0
    if made.pop("x", None):
        del made["choices"][0]["response_token_ids"]
    record = outcome(made, think)
    assert record["error"] is None and record["text"] == text
    assert (record["thinking_tokens"], record["answer_tokens"]) == (thinking, answered)
    assert record["thinking_finish_reason"] == reason
    assert bool(record["reasoning"]) == (thinking > 0)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        case("C16", "'\\nAnswer: 4' (no tags)", "as it is", "as it is", "\nAnswer: 4", "\nAnswer: 4"),
        case("C16", "'Answer: 4</think>'", "with the tag", "Answer: 4", "Answer: 4</think>", "Answer: 4"),
        case("C16", "'5, no </think> Answer: 4'", "with the thought", "after the tag",
             "5, no </think> Answer: 4", " Answer: 4"),
        case("C16", "'<think>5</think>Answer: 4'", "graded with the block", "without the block",
             "<think>5</think>Answer: 4", "Answer: 4"),
        case("C16", "'Answer: 4 <think>or 5?'", "5", "4", "Answer: 4 <think>or 5?", "Answer: 4 "),
        case("C16", "'Answer: 4<think>5</think>'", "5", "4", "Answer: 4<think>5</think>",
             "Answer: 4"),
        case("C16", "'<THINK>5</Think>4'", "graded with the block", "4", "<THINK>5</Think>4", "4"),
        case("C16", "'</think></think>\\n4'", "with a tag", "4", "</think></think>\n4", "\n4"),
        case("C16", "'</think>'", "the tag", "empty", "</think>", ""),
        case("C16", "'[THINK]5[/THINK]4'", "graded with the block", "4", "[THINK]5[/THINK]4", "4"),
    ],
)  # fmt: skip
def test_stray_tags_in_an_answer(content, expected):
    assert clean(content) == expected
    assert split("so", content, True) == ("so", expected)


@pytest.mark.parametrize(("start", "end"), TAGS)
def test_every_pair_of_tags(start, end):
    assert is_open(f"What?\n{start}\n") and not is_open(f"What?\n{start}\n{end}\n")
    assert split("", f"{start}so{end}4", None) == split("", f"so{end}4", True) == ("so", "4")


@pytest.mark.parametrize(
    ("content", "opened", "expected"),
    [
        ("so</think>4", None, ("so", "4")),
        ("so</think>4", False, ("", "4")),
        ("The tag <think> opens thoughts, 4", True, ("The tag <think> opens thoughts, 4", "")),
        ("so <think> again</think>4", True, ("so <think> again", "4")),
        ("Answer: 4", None, ("", "Answer: 4")),
        ("", True, ("", "")),
    ],
)
def test_a_text_is_split_by_what_the_prompt_opened(content, opened, expected):
    assert split("", content, opened) == expected


def test_a_text_of_tags_takes_linear_time():
    began = time.monotonic()
    for text in ("<think>" * 50_000, "</think>" * 50_000, " " * 500_000, "<" * 500_000):
        split("", text, None)
        clean(text)
        is_open(text)
    assert time.monotonic() - began < 5


@row("C16", "a run against such a server", "the thought is graded", "truncated, no answer")
def test_a_run_does_not_grade_a_thought(tmp_path):
    def respond(request):
        method = "soft" if soft(request) else None
        _, made = completion("Answer: 1", method=method, finish="length", reasoning="")
        choice = made["choices"][0]
        choice["response_token_ids"] = [10, 11]
        if probe(request):
            return 200, made
        if method:
            choice["meta_info"]["soft_thinking"] |= {"answer_tokens": 0, "thinking_tokens": 2}
        return 200, made

    with serving(respond) as server:
        run.execute(small(server.base_url), tmp_path)
    for record in samples(tmp_path):
        assert record["text"] == "" and record["answer"] is None and record["correct"] is False
        assert record["reasoning"] == "Answer: 1" and record["thinking_tokens"] == 2


BROKEN = {
    "no choices": {"choices": []},
    "choices that are null": {"choices": None},
    "a choice that is text": {"choices": ["text"]},
    "no message": {"choices": [{}]},
    "a message that is null": {"choices": [{"message": None}]},
    "content that is a list": {
        "choices": [{"message": {"content": [{"type": "text"}]}, "finish_reason": "stop"}]
    },
    "no finish reason": {"choices": [{"message": {"content": "4"}}]},
    "meta_info that is a list": {
        "choices": [{"message": {"content": "4"}, "finish_reason": "stop", "meta_info": []}]
    },
    "usage that is text": {
        "choices": [{"message": {"content": "4"}, "finish_reason": "stop"}],
        "usage": "much",
    },
    "an error with status 200": {"error": {"message": "overloaded"}},
    "no JSON object": [],
}


TRACEBACK = "a traceback ends the run"
BEFORE = {
    "no finish reason": "an answer",
    "an error with status 200": "a failed sample",
    "no JSON object": "a failed sample",
}


@pytest.mark.parametrize(
    "made",
    [case("C17", f"HTTP 200 with {name}", BEFORE.get(name, TRACEBACK), "a failed sample", made)
     for name, made in BROKEN.items()],
)  # fmt: skip
def test_a_malformed_answer_is_a_failed_sample(tmp_path, made):
    def respond(request):
        broken = not probe(request) and soft(request) == {"max_topk": 10}
        return (200, made) if broken else completion("Answer: 1", method=served(request))

    def served(request):
        return "soft" if soft(request) else None

    with serving(respond) as server:
        result = run.execute(small(server.base_url), tmp_path)
    assert result.complete and result.statuses == {"failed": 20, "ok": 40}
    (error,) = {r["error"] for r in samples(tmp_path) if r["status"] == "failed"}
    assert error.startswith(("malformed answer: ", "HTTP 200: ")) and result.errors["soft"] == error
