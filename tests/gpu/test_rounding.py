"""The judge of the GPU tests, judged: it accepts bfloat16 and finds what is wrong. Needs no GPU."""

from dataclasses import replace

import pytest
import torch

from tests.gpu import requests
from tests.gpu.engines import decode_steps
from tests.gpu.rounding import draw, judge, judge_sampled, until_eos
from tests.models import tiny
from tests.oracle import Concept, Observed, run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rounded():
    """(float32 model, prompt, request, the trace of a bfloat16 model)"""
    model, tokenizer = tiny.load(requests.MODEL)
    case = requests.CASES[0]
    prompt, request = requests.prompt_ids(tokenizer, case.question), case.request(tokenizer)
    trace = run(tiny.load(requests.MODEL, dtype=torch.bfloat16)[0], prompt, request)
    return model, prompt, request, until_eos(Observed.of(trace), tokenizer.eos_token_id)


def test_bfloat16_is_accepted(rounded):
    model, prompt, request, observed = rounded
    found = judge(model, prompt, observed, request)
    assert found.steps > 40 and 0 < found.weights < 0.04 and found.entropy < 0.02


def spoiled(observed: Observed, position: int, **changes) -> Observed:
    concepts = [Concept(*concept) for concept in observed.concepts]
    concepts[position] = concepts[position]._replace(**changes)
    return replace(observed, concepts=concepts)


def test_wrong_data_is_found(rounded):
    model, prompt, request, observed = rounded
    wide = max(range(10, 30), key=lambda i: len(observed.concepts[i][0]))
    ids, _, entropy = observed.concepts[wide]
    one_hot = spoiled(observed, wide, ids=[ids[-1]], weights=[1.0])
    with pytest.raises(AssertionError, match=f"position {wide}: concept tokens"):
        judge(model, prompt, one_hot, request)
    with pytest.raises(AssertionError, match=f"position {wide}: entropy"):
        judge(model, prompt, spoiled(observed, wide, entropy=entropy + 0.06), request)
    tokens = list(observed.output_ids)
    tokens[wide] = 0
    with pytest.raises(AssertionError, match=f"position {wide}: token"):
        judge(model, prompt, replace(observed, output_ids=tokens), request)


def test_drawn_tokens(rounded):
    model, *_ = rounded
    tokenizer = tiny.load(requests.MODEL)[1]
    case = requests.CASES[requests.SAMPLED]
    prompt = requests.prompt_ids(tokenizer, case.question)
    drawn, logprobs = draw(
        tiny.load(requests.MODEL, dtype=torch.bfloat16)[0], prompt, case, tokenizer.eos_token_id
    )
    rest = (case.temperature, case.top_k)
    assert 0 < judge_sampled(model, prompt, drawn, logprobs, *rest) < 0.07
    wrong = logprobs.copy()
    wrong[5] -= 0.3
    with pytest.raises(AssertionError, match="position 5: logprob"):
        judge_sampled(model, prompt, drawn, wrong, *rest)
    ids = list(drawn.output_ids)
    ids[5] = 0
    with pytest.raises(AssertionError, match="position 5: 0 is filtered out"):
        judge_sampled(model, prompt, replace(drawn, output_ids=ids), logprobs, *rest)


def test_decode_steps_are_read_from_the_log():
    line = "[2026] Decode batch, #running-req: {}, #token: 5, token usage: 0.1, {} graph: {}, gen\n"
    log = line.format(7, "cuda", True) + "Prefill batch, cuda graph: False\n"
    log += line.format(3, "cuda", False) * 2
    assert decode_steps(log) == {(7, True), (3, False)}
