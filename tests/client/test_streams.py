"""Streams in both forms that SGLang has, as bytes in pieces of any size."""

import orjson
import pytest

from sglang_soft.client import Chunk, NoAnswer, ServerError
from sglang_soft.client.stream import Reading

ODD = "4\u20282\x85"
"""Characters that end a line for str.splitlines, and that JSON may contain."""
STEPS = [([4, 5], [0.75, 0.25], 0.5), ([6], [1.0], 0.0), ([2], [1.0], 0.1)]
TEXTS = ["4", f"</think>{ODD}", "!"]
END = {"format": 1, "method": "soft", "k": 2, "prompt_ids": [1], "output_ids": [4, 6, 2, 9],
       "thinking_finish_reason": "stop_token"}  # fmt: skip
SUMMARY = {"method": "soft", "thinking_tokens": 2, "answer_tokens": 1, "mixed_share": 0.5,
           "thinking_finish_reason": "stop_token", "mean_concept_size": 1.5, "mean_entropy": 0.25,
           "final_entropy": 0.0, "retractions": {}}  # fmt: skip


def part(first: int, stop: int) -> dict:
    ids, weights, entropy = zip(*STEPS[first:stop])
    return {"start": 1, "step": first, "ids": ids, "weights": weights, "entropy": entropy}


def events(cumulative: bool) -> list[dict]:
    """Three events of /generate, of 2, 1 and 1 tokens."""
    made = []
    for i, (new, at) in enumerate([([4, 6], 2), ([2], 3), ([9], 4)]):
        soft = [{"trace": part(0, 2)}, {"trace": part(2, 3)}, SUMMARY | {"trace": END}][i]
        meta = {"completion_tokens": at, "prompt_tokens": 1, "cached_tokens": 0,
                "finish_reason": {"type": "stop"} if i == 2 else None,
                "soft_thinking": orjson.loads(orjson.dumps(soft))}  # fmt: skip
        ids = END["output_ids"][:at] if cumulative else new
        text = "".join(TEXTS[: i + 1]) if cumulative else TEXTS[i]
        made.append({"text": text, "output_ids": ids, "meta_info": meta})
    return made


def encoded(events: list[dict], done: bool = True) -> bytes:
    lines = [b"data: " + orjson.dumps(event) for event in events]
    return b"\n\n".join([*lines, *[b"data: [DONE]"] * done, b""])


def read(data: bytes, size: int = 10**6) -> list[Chunk]:
    reading = Reading()
    chunks = [c for at in range(0, len(data), size) for c in reading.feed(data[at : at + size])]
    return [*chunks, reading.end()]


@pytest.mark.parametrize("cumulative", [True, False])
@pytest.mark.parametrize("size", [1, 7, 10**6])
def test_text_and_steps_come_once(cumulative, size):
    *chunks, last = read(encoded(events(cumulative)), size)
    assert [chunk.text for chunk in chunks] == TEXTS
    assert [len(chunk.concepts) for chunk in chunks] == [2, 1, 0]
    assert [chunk.tokens for chunk in chunks] == [(4, 6), (2,), (9,)]
    assert [chunk.start for chunk in chunks] == [1, 1, None]
    first = chunks[0].concepts[0]
    assert first.ids.tolist() == [4, 5] and first.weights.tolist() == [0.75, 0.25]
    assert (first.entropy, first.offset) == (0.5, None)
    answer = last.answer
    assert answer and answer.text == "".join(TEXTS) and answer.finish_reason == "stop"
    assert answer.summary and answer.summary.thinking_tokens == 2
    assert answer.trace and answer.trace.ids[0].tolist() == [4, 5]
    assert answer.trace.thinking_tokens == 2 and answer.tokens.completion == 4
    assert answer.raw["output_ids"] == END["output_ids"]
    assert all(chunk.answer is None for chunk in chunks)


def test_offsets_of_a_step():
    made = events(True)
    data = "AACAPwAAAEAAAEBAAACAQA=="  # 1, 2, 3, 4 as float32
    made[0]["meta_info"]["soft_thinking"]["trace"]["embedding_offsets"] = {
        "dtype": "float32", "data": data,
    }  # fmt: skip
    made[1]["meta_info"]["soft_thinking"]["trace"]["embedding_offsets"] = {
        "dtype": "float32", "data": "AACAPwAAAEA=",
    }  # fmt: skip
    *chunks, last = read(encoded(made))
    assert [c.offset.tolist() for c in chunks[0].concepts] == [[1, 2], [3, 4]]
    assert last.answer.trace.concept(1).offset.tolist() == [3, 4]


def test_a_chat():
    def event(delta: dict, **more) -> dict:
        return {"choices": [{"index": 0, "delta": delta, "finish_reason": None} | more]}

    whole = SUMMARY | {"trace": END | part(0, 3)}
    made = [
        event({"role": "assistant", "content": "", "reasoning_content": None}),
        event({"reasoning_content": "4"}), event({"reasoning_content": ODD}),
        event({"content": "42", "reasoning_content": None}),
        event({"content": None}, finish_reason="stop", meta_info={"soft_thinking": whole}),
        {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 4}},
    ]  # fmt: skip
    *chunks, last = read(encoded(made), 5)
    assert [(c.thinking, c.text) for c in chunks[:4]] == [
        ("", ""),
        ("4", ""),
        (ODD, ""),
        ("", "42"),
    ]
    assert last.answer and (last.answer.thinking, last.answer.text) == ("4" + ODD, "42")
    assert last.answer.tokens.completion == 4 and last.answer.finish_reason == "stop"
    assert len(last.concepts) == 3 and last.answer.trace


@pytest.mark.parametrize("keep", [0, 2])
def test_a_stream_that_breaks_off_is_no_answer(keep):
    made = events(True)[:keep]
    for event in made:
        del event["meta_info"]["soft_thinking"]
    with pytest.raises(NoAnswer, match="broke off"):
        read(encoded(made, done=False))


def test_an_error_within_a_stream():
    error = {"error": {"message": "too long", "code": 400}}
    with pytest.raises(ServerError, match="HTTP 400: too long"):
        read(encoded([*events(True)[:1], error]))
