"""The client and a server as a user starts it."""

import asyncio
import subprocess
import sys

import numpy as np
import pytest

from sglang_soft.client import AsyncClient, Client, ServerError

QUESTION = "What is 43*34?"
PROMPT = f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n<think>\n"
GIVEN = {"temperature": 0.7, "top_p": 0.9, "top_k": 9, "min_p": 0.01}
BOTH = pytest.mark.parametrize("asked", [{"messages": [{"role": "user", "content": QUESTION}]},
                                         {"prompt": PROMPT}], ids=["chat", "prompt"])  # fmt: skip


@pytest.fixture(scope="module")
def client(server):
    with Client(server) as client:
        yield client


def test_a_question(client):
    answer = client.ask(QUESTION, temperature=0.6, soft={"answer_temperature": 0.0})
    assert "1462" in answer.text and answer.thinking and "</think>" not in answer.text
    assert answer.finish_reason == "stop" and answer.kept is None
    assert answer.summary and answer.trace and answer.summary.given is None
    assert answer.summary.thinking_tokens == answer.trace.thinking_tokens > 0
    assert answer.tokens.prompt == len(answer.trace.prompt_ids)
    assert answer.tokens.completion == len(answer.trace.output_ids)
    assert answer.tokens.cached is not None
    sent = set(answer.raw["meta_info"]["soft_thinking"])
    assert sent <= {name for name, value in vars(answer.summary).items() if value is not None}


@BOTH
def test_every_option_reaches_the_server(client, asked):
    answer = client.ask(**asked, **GIVEN, seed=11, max_tokens=30, soft={"method": "soft_gumbel"})
    assert answer.trace and answer.summary
    params = answer.trace.params
    assert {key: params[key] for key in GIVEN} == GIVEN
    assert params["max_new_tokens"] == 30 == answer.tokens.completion
    assert answer.finish_reason == "length"
    assert answer.summary.seed == answer.trace.seed == 11


@BOTH
@pytest.mark.parametrize(
    ("option", "found"),
    [
        ({"regex": "[0-9]{3}!"}, lambda text: text[-1] == "!" and text[:-1].isdigit()),
        ({"ebnf": 'root ::= "77"'}, lambda text: text == "77"),
        ({"json_schema": {"enum": [123]}}, lambda text: text == "123"),
        ({"stop": "A"}, lambda text: text == "\n"),
        ({"stop_regex": "An."}, lambda text: text == "\nAnswer"),  # SGLang does not trim it
        ({"stop_token_ids": [28]}, lambda text: text == ""),
        ({"stop": "A", "extra": {"no_stop_trim": True}}, lambda text: text == "\nA"),
    ],
    ids=lambda o: "-".join(o) if isinstance(o, dict) else "",
)
def test_what_binds_the_answer(client, asked, option, found):
    soft = {"max_thinking_tokens": 8, "answer_temperature": 0.0}
    text = client.ask(**asked, soft=soft, max_tokens=40, **option).text
    assert found(text.split("</think>")[-1]), text


def test_a_discrete_request(client):
    answer = client.ask(QUESTION, soft=False, temperature=0.0)
    assert "1462" in answer.text and answer.summary is None and answer.trace is None


def test_without_concepts(client):
    answer = client.ask(prompt=PROMPT, concepts=False, max_tokens=5)
    assert answer.trace is None and answer.summary and answer.summary.thinking_tokens == 5
    with pytest.raises(ValueError, match="the answer has no trace"):
        client.verify(answer)


@BOTH
def test_a_stream(client, asked):
    *chunks, last = client.stream(**asked, temperature=0.6)
    answer = last.answer
    assert answer and answer.trace and answer.summary and answer.tokens.completion
    assert len(chunks) > 10, "the answer was not streamed"
    assert "".join(chunk.text for chunk in chunks) == answer.text and "1462" in answer.text
    assert ("".join(chunk.thinking for chunk in chunks) or None) == answer.thinking
    steps = [concept for chunk in (*chunks, last) for concept in chunk.concepts]
    assert len(steps) == len(answer.trace.steps) == answer.summary.thinking_tokens + 1
    for i, step in enumerate(steps):
        concept = answer.trace.concept(i)
        assert np.array_equal(step.ids, concept.ids)
        assert np.array_equal(step.weights, concept.weights)


def test_refusals(client):
    for ask in (client.ask, lambda *a, **o: list(client.stream(*a, **o))):
        for asked in ((QUESTION,), ()):
            prompt = {} if asked else {"prompt": PROMPT}
            with pytest.raises(ServerError, match="max_topk is out of range") as refused:
                ask(*asked, soft={"max_topk": 0}, **prompt)
            assert refused.value.status == 400
    assert client.ask(QUESTION, max_tokens=2).text == "", "the server goes on"


def test_what_the_server_offers(client):
    assert "soft" in [row["method"] for row in client.info()["methods"]]


def test_many_questions_at_once(server):
    pairs = [(a, b) for a in range(21, 26) for b in range(31, 35)]

    async def ask_all():
        async with AsyncClient(server) as client:
            asked = (client.ask(f"What is {a}*{b}?", temperature=0.6) for a, b in pairs)
            answers = await asyncio.gather(*asked)
            chunks = [chunk async for chunk in client.stream(QUESTION, temperature=0.6)]
            report = await client.verify(answers[0])
            with pytest.raises(ServerError, match="max_topk"):
                await client.ask(QUESTION, soft={"max_topk": 0})
            with pytest.raises(ServerError, match="max_topk"):
                _ = [chunk async for chunk in client.stream(QUESTION, soft={"max_topk": 0})]
            return answers, chunks, report, await client.info()

    answers, chunks, report, info = asyncio.run(ask_all())
    right = sum(str(a * b) in answer.text for (a, b), answer in zip(pairs, answers))
    assert right > len(pairs) / 2, "answers are not in the order of the questions"
    assert report.sound and len(report.steps) == len(answers[0].trace.steps)
    assert "1462" in chunks[-1].answer.text and info["methods"]


def test_a_trace_is_verified(client):
    answer = client.ask(QUESTION, temperature=0.8)
    report = client.verify(answer)
    assert report.sound and len(report.steps) == len(answer.trace.steps)
    assert not client.verify(answer, tolerance=0.0).sound


WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "sglang", "triton", "transformers", "numba"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
import sglang_soft.client as soft

with soft.Client(sys.argv[1]) as client:
    answer = client.ask("What is 43*34?", temperature=0.6)
    assert "1462" in answer.text and answer.trace.thinking_tokens == answer.summary.thinking_tokens
    answer.trace.save(sys.argv[2])
    *_, last = client.stream("What is 43*34?", temperature=0.6)
    assert "1462" in last.answer.text and len(last.concepts) == len(last.answer.trace.steps)
    try:
        client.verify(answer)
    except ImportError as error:
        print(error)
print(*({"torch", "sglang", "triton"} & set(sys.modules)))
"""


def test_neither_torch_nor_sglang_is_needed(server, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, server, str(tmp_path / "trace.npz")],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said, loaded = done.stdout.splitlines()
    assert said.startswith("verify computes with torch") and "'torch'" in said and not loaded
