"""The engine on CUDA, against the float32 oracle: with and without CUDA graphs, retracted, and with
SGLang's defaults.

One engine after the other answers the same batch of soft and discrete requests, in bfloat16, with
the overlap schedule on.
"""

from collections.abc import Callable

import pytest
import torch

from sglang_soft import methods
from tests.engine.asking import observed
from tests.gpu import requests
from tests.gpu.engines import COMPANIONS, SETUPS, TOKENS, Answers, ask
from tests.gpu.rounding import (
    TOLERANCE,
    first_difference,
    judge,
    judge_sampled,
    oracle_logits,
    until_eos,
)
from tests.models import tiny

pytestmark = [pytest.mark.gpu, pytest.mark.engine, pytest.mark.usefixtures("cuda")]


@pytest.fixture(scope="module")
def oracle(cuda):
    """(model in float32 on the CPU, tokenizer)"""
    return tiny.load(requests.MODEL)


@pytest.fixture(scope="module")
def answers(cuda, oracle, tmp_path_factory) -> Callable[[str], Answers]:
    """Of an engine by name; each is started once, when it is first asked for."""
    found: dict[str, Answers] = {}

    def of(name: str) -> Answers:
        if SETUPS[name].args.get("tp_size", 1) > torch.cuda.device_count():
            pytest.skip("needs two GPUs")
        if name not in found:
            log = tmp_path_factory.mktemp("engine") / "log"
            found[name] = ask(SETUPS[name], oracle[1], log)
        return found[name]

    return of


@pytest.fixture
def texts(answers, oracle):
    """By engine: what it made of every case, up to the end of its text."""
    eos = oracle[1].eos_token_id
    return lambda name: [until_eos(observed(out), eos) for out in answers(name).outs]


@pytest.mark.parametrize("engine", SETUPS)
def test_against_the_float32_oracle(texts, oracle, engine):
    model, tokenizer = oracle
    thinking = 0
    for i, answer in enumerate(texts(engine)):
        case = requests.CASES[i]
        thinking += answer.thinking_tokens
        assert bool(answer.concepts) == case.soft
        if not case.sampled:
            prompt = requests.prompt_ids(tokenizer, case.question)
            judge(model, prompt, answer, case.request(tokenizer))
    assert thinking > 50, "hardly any step was a soft one"


@pytest.mark.parametrize("engine", SETUPS)
def test_a_sampled_discrete_request_has_the_oracles_logprobs(answers, texts, oracle, engine):
    model, tokenizer = oracle
    case, answer = requests.CASES[requests.SAMPLED], texts(engine)[requests.SAMPLED]
    info = answers(engine).outs[requests.SAMPLED]["meta_info"]
    logprobs = [logprob for logprob, *_ in info["output_token_logprobs"]]
    prompt = requests.prompt_ids(tokenizer, case.question)
    judge_sampled(model, prompt, answer, logprobs, case.temperature, case.top_k)


@pytest.mark.parametrize("engine", SETUPS)
def test_graphs_are_replayed_with_a_padding_row(answers, engine):
    found, rows = answers(engine), len(requests.CASES)
    if engine == "no graphs":
        assert found.graph_sizes == []
        assert not any(replayed for _, replayed in found.decode_steps)
        assert (rows, False) in found.decode_steps
    else:
        assert rows not in found.graph_sizes and rows + 1 in found.graph_sizes
        assert (rows, True) in found.decode_steps
        assert engine == "retraction" or (rows, False) not in found.decode_steps


def test_graphs_on_and_off_agree(texts, oracle):
    """Attention with graphs may split its sums in another way: the first difference must be a tie
    for the oracle."""
    model, tokenizer = oracle
    on, off = texts("graphs"), texts("no graphs")
    for i in requests.GREEDY:
        case, ours, theirs = requests.CASES[i], on[i], off[i]
        position = first_difference(ours, theirs)
        if position is None:
            assert len(ours.output_ids) == len(theirs.output_ids)
            continue
        prompt = requests.prompt_ids(tokenizer, case.question)
        logits = oracle_logits(model, prompt, ours, first_step=0)[position]
        tokens = ours.output_ids[position], theirs.output_ids[position]
        margin = float(logits.max() - min(logits[token] for token in tokens))
        assert margin < TOLERANCE.tie, (
            f"{case}: differ at {position}, where the oracle's margin is {margin:.3g}"
        )


def test_requests_were_retracted_while_they_thought(answers):
    outs = answers("retraction").outs
    soft = [
        out["meta_info"]["soft_thinking"] for out, case in zip(outs, requests.CASES) if case.soft
    ]
    assert sum(info["retractions"]["thinking"] for info in soft) > 0


@pytest.mark.parametrize("method", methods.names())
def test_every_method_with_sglangs_defaults(answers, method):
    info = answers("defaults").methods[method]["meta_info"]
    assert info["finish_reason"]["type"] == "length"
    assert info["soft_thinking"]["method"] == method
    assert info["soft_thinking"]["thinking_tokens"] > 0


def test_only_methods_that_read_hidden_states_leave_the_default_graphs(answers):
    reading = sum(methods.get(name).reads_hidden for name in methods.names())
    steps = answers("defaults").decode_steps
    for name in methods.names():
        info = answers("defaults").methods[name]["meta_info"]["soft_thinking"]
        assert info["thinking_tokens"] == TOKENS, "the thought ended: its answer may use the graph"
    assert (len(methods.names()) - reading, True) in steps
    assert reading and (1 + len(COMPANIONS), False) in steps
    assert (1 + len(COMPANIONS), True) not in steps
