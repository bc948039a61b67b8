"""The judge of the GPU tests, judged: it accepts bfloat16 and finds what is wrong. Needs no GPU."""

from dataclasses import replace

import pytest
import torch

from sglang_soft import methods
from tests.gpu import requests
from tests.gpu.rounding import judge, until_eos
from tests.gpu.test_engine_gpu import decode_steps
from tests.models import tiny
from tests.oracle import Concept, Observed, run


@pytest.fixture(scope="module")
def rounded():
    """(float32 model, prompt, request, the trace of a bfloat16 model)"""
    model, tokenizer = tiny.load(requests.MODEL)
    case = requests.CASES[0]
    prompt, request = case.prompt_ids(tokenizer), case.request(tokenizer)
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


@pytest.mark.parametrize("method", methods.names())
def test_the_steps_of_the_synchronisation_test_run(method):
    decode_steps("cpu", method)
