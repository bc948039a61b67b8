"""Thoughts that go on: kept, cut, forked, and fed to the next turn, by the client."""

import asyncio

import numpy as np
import pytest

from sglang_soft.client import AsyncClient, Client, UnknownTrace
from sglang_soft.trace import Trace

QUESTION = "What is 43*34?"
GREEDY = {"answer_temperature": 0.0}


@pytest.fixture(scope="module")
def client(server):
    with Client(server) as client:
        yield client


@pytest.fixture(scope="module")
def thought(client):
    return client.think(QUESTION, temperature=0.6)


def test_a_thought_alone(client, thought):
    assert thought.text == "" and thought.thinking and thought.summary and thought.trace
    assert thought.summary.answer_tokens == 0 and thought.trace.ended_by_think_end
    assert thought.kept and thought.kept.id.startswith("trace-")
    assert thought.kept.expires_in > 0 and thought.kept.bytes > 0
    kept = client.trace(thought.kept)
    assert kept.to_json() == thought.trace.to_json() and client.verify(thought.kept).sound


def test_a_fork_shares_the_thought(client, thought):
    answers = client.fork(thought, 3, soft=GREEDY)
    assert len(answers) == 3 and {a.text for a in answers} == {"\nAnswer: 1462"}
    for answer in answers:
        assert answer.trace is None and answer.summary and answer.summary.given
        assert answer.summary.given["steps"] == len(thought.trace.steps)
        assert answer.summary.thinking_tokens == thought.summary.thinking_tokens


def test_samples_of_a_fork_differ_as_they_say(client, thought):
    first, second, third = client.fork(
        thought,
        [{"soft": GREEDY}, {"regex": "[0-9]{3}!"}, {"max_tokens": 2, "keep": True}],
        temperature=0.7,
        concepts=True,
    )
    assert first.text == "\nAnswer: 1462"
    assert second.text[-1] == "!" and second.text[:-1].isdigit()
    assert third.tokens.completion == 2 and third.kept and not first.kept
    for answer in (first, second, third):
        assert answer.trace.steps.weights.tobytes() == thought.trace.steps.weights.tobytes()


@pytest.mark.parametrize("place", ["handle", "file", "answer"])
def test_a_thought_is_cut_and_goes_on(client, thought, place, tmp_path):
    thought.trace.save(tmp_path / "thought.npz")
    given = {"handle": thought.kept.id, "file": Trace.load(tmp_path / "thought.npz"),
             "answer": thought}[place]  # fmt: skip
    more = client.resume(given, cut=9, at="next", soft=GREEDY)
    assert more.summary.given["steps"] == 9
    assert np.array_equal(more.trace.ids[:9], thought.trace.ids[:9])
    assert np.array_equal(more.trace.weights[:9], thought.trace.weights[:9])
    assert more.summary.thinking_tokens > 9 and more.text.endswith("Answer: 1462")
    assert more.tokens.completion == len(more.trace.output_ids) - 9


def test_an_open_thought_is_closed_for_its_answer(client, thought):
    short = client.resume(thought, cut=9, at="answer", regex="[0-9]{2}!", temperature=0.6)
    assert short.text[-1] == "!" and short.text[:-1].isdigit()
    assert short.summary.thinking_tokens == 9 and short.trace.ended_by_think_end


def test_the_next_turn_reads_the_thought(client):
    """The same over the chat endpoint and as the raw text that the template makes of the turn."""
    sampling = {"temperature": 0.6, "top_p": 1.0, "soft": GREEDY, "at": "end"}
    answer = client.ask(QUESTION, soft=GREEDY, temperature=0.6, keep=True)
    turns = [{"role": "user", "content": QUESTION},
             {"role": "assistant", "content": answer.text},
             {"role": "user", "content": "What is 12*11?"}]  # fmt: skip
    later = client.resume(answer, messages=turns, **sampling)
    assert later.tokens.prompt > answer.tokens.prompt + answer.tokens.completion
    assert later.summary.thinking_tokens > 0 and later.text.startswith("\nAnswer: ")
    earlier, first = later.trace.prompt_steps, answer.trace.steps
    count, size = answer.trace.thinking_tokens, min(earlier.k, first.k)
    assert np.array_equal(earlier.weights[:count, :size], first.weights[:count, :size])
    assert not earlier.weights[:, size:].any() and not first.weights[:, size:].any(), "unused slots"
    tail = (
        "<|im_end|>\n<|im_start|>user\nWhat is 12*11?<|im_end|>\n<|im_start|>assistant\n<think>\n"
    )
    tail = tail if answer.trace.output_ids[-1] != 2 else tail.removeprefix("<|im_end|>")
    raw = client.resume(answer, prompt=tail, **sampling)
    assert raw.text == f"{later.thinking}</think>{later.text}"


def test_a_stream_goes_on(client, thought):
    *chunks, last = client.stream(thought=thought, cut=9, at="next", soft=GREEDY)
    assert "".join(chunk.text for chunk in chunks) == last.answer.text
    assert last.answer.text.endswith("Answer: 1462")
    assert chunks[0].concepts and len(chunks) > 10
    steps = [concept for chunk in (*chunks, last) for concept in chunk.concepts]
    assert len(steps) == len(last.answer.trace.steps) and last.answer.summary.given["steps"] == 9
    assert len(chunks[0].concepts) >= 9, "the given ones come first"
    for i, step in enumerate(steps):
        assert np.array_equal(step.ids, last.answer.trace.concept(i).ids)


def test_a_trace_that_is_not_kept(client):
    kept = client.think(QUESTION).kept
    client.drop(kept)
    for ask in (client.trace, client.drop, client.resume, lambda k: client.fork(k, 2)):
        with pytest.raises(UnknownTrace, match="no trace is kept under") as unknown:
            ask(kept)
        assert unknown.value.status == 404


def test_without_waiting(server, client, thought):
    async def ask_all():
        async with AsyncClient(server) as client:
            made = await client.think(QUESTION, temperature=0.6)
            forked = await client.fork(made, 2, soft=GREEDY)
            more = await client.resume(made, cut=9, at="next", soft=GREEDY)
            kept = await client.trace(made.kept)
            await client.drop(made.kept)
            with pytest.raises(UnknownTrace):
                await client.trace(made.kept)
            return made, forked, more, kept

    made, forked, more, kept = asyncio.run(ask_all())
    assert kept.to_json() == made.trace.to_json()
    assert [answer.text for answer in forked] == ["\nAnswer: 1462"] * 2
    assert more.text.endswith("Answer: 1462")
