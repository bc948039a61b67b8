"""Roll-outs: the engine's log-probabilities are those that a Hugging Face model finds in the trace.

The trainer's formulas (sglang_soft/rollout) share no code with the engine's (methods/density.py).
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sglang_soft import methods
from sglang_soft.rollout import answer_log_probs, evaluate, gumbel_noise, log_probs
from sglang_soft.rollout.steps import drawn_weights
from sglang_soft.trace import Trace
from tests.conftest import on
from tests.engine import inside
from tests.engine.asking import compare_all, prompt_ids
from tests.engine.cases import Case, sampling_params
from tests.engine.method_cases import METHOD_CASES, case
from tests.models import tiny

TOLERANCE = 1e-4
"""Of a step, relative to 1 + |log-probability|: model and engine are both float32."""
STEP = 1e-3
"""Of a finite difference: norms of transformers' models are float32 even where the model is not."""
ROLL = {"return_rollout": True, "return_concepts": False}
CLOSING = {"max_thinking_tokens": 9, "closing_text": "so"}
BY_METHOD = [c for c in METHOD_CASES if c.soft]
FORCED = [
    case("closing", "soft_gumbel", "sum", 21, gumbel_temperature=0.5, **CLOSING),
    case("closing", "cot", "sum", 22, **CLOSING),
    case("closing", "soft_noise", "sum", 23, noise_scale=0.2, **CLOSING),
    case("draws", "thinkrouter", "sum", 26, router_threshold=0.7),
    case(
        "sharp", "soft_gumbel", "chat", 24, 16, gumbel_temperature=0.05, temperature=2.0, top_k=-1
    ),
    case("flat", "soft_dirichlet", "sum", 25, 12, dirichlet_gamma=0.1),
]
EVERY = [replace(c, name=f"{c.name}, roll-out", soft=c.soft | ROLL) for c in [*BY_METHOD, *FORCED]]
STOCHASTIC = {m.name for m in methods.registry().values() if m.stochastic}


def traces_of(outs: list[dict]) -> list[Trace]:
    return [Trace.from_json(out["meta_info"]["soft_thinking"]["trace"]) for out in outs]


def engines(trace: Trace) -> np.ndarray:
    """[n] float32: the engine's log-probabilities."""
    return trace.steps.extra["logprobs"][:, 0]


def off(found: torch.Tensor, trace: Trace) -> float:
    """Largest deviation from the engine's."""
    ours, theirs = found.detach().numpy(), engines(trace)
    return float((np.abs(ours - theirs) / (1 + np.abs(theirs))).max(initial=0))


@on("default", "retract", "tp2")
def test_the_trainer_finds_the_engines_log_probabilities(engine):
    outs = compare_all(engine, EVERY)
    model, random, ended, unseen = engine.hf_model, set(), set(), 0
    for asked, trace in zip(EVERY, traces_of(outs), strict=True):
        drawn = trace.steps.extra["drawn"]
        assert len(engines(trace)) == len(trace.steps) > 0
        assert off(log_probs(model, trace), trace) < TOLERANCE, asked.name
        assert (engines(trace)[drawn[:, 0] < 0] == 0).all(), asked.name
        if trace.method not in STOCHASTIC:
            assert (drawn == -1).all(), asked.name
        elif np.abs(engines(trace)).max() > 0.01:
            random.add(trace.method)
        if trace.ended_by_think_end and trace.method in ("soft_gumbel", "soft_dirichlet", "cot"):
            itself = trace.thinking_finish_reason in ("stop_token", "eos")
            assert (drawn[-1, 0] >= 0) == itself, asked.name
            ended.add((trace.method, itself))
        if methods.get(trace.method).has_density:
            unseen += int(((drawn_weights(trace) < 2.0**-126) & (drawn >= 0)).sum())
    assert random == STOCHASTIC, "a method drew nothing"
    assert unseen, "no weight was too small for float32"
    assert ("soft_gumbel", False) in ended and ("cot", False) in ended
    if engine.setup.retracts:
        assert sum(out["meta_info"]["num_retractions"] for out in outs), "nothing was retracted"


@pytest.fixture(scope="module")
def one_of_each(engine) -> list[Trace]:
    """A trace of every stochastic method."""
    chosen = {c.soft["method"]: c for c in EVERY if c.soft.get("temperature") != 0.0}
    cases = [chosen[name] for name in sorted(STOCHASTIC)]
    prompts = [prompt_ids(engine, c) for c in cases]
    return traces_of(engine.generate(prompts, [sampling_params(c) for c in cases]))


@on("default")
def test_gradients_are_those_of_finite_differences(engine, one_of_each):
    model, _ = tiny.load(engine.path, torch.float64)
    table = model.get_input_embeddings().weight.detach().clone()
    parameters = dict(model.named_parameters())
    chosen = [n for n in parameters if "embed_tokens" in n or "layers.1.mlp.down" in n]
    assert len(chosen) == 2
    for trace in one_of_each:
        model.zero_grad()
        log_probs(model, trace, table=table).sum().backward()
        gradients = [p.grad for p in parameters.values() if p.grad is not None]
        assert gradients and all(torch.isfinite(g).all() for g in gradients), trace.method
        for name in chosen:
            weight, gradient = parameters[name].data.view(-1), parameters[name].grad.view(-1)
            at, values = int(gradient.abs().argmax()), []
            before = float(weight[at])
            for step in (STEP, -STEP):
                weight[at] = before + step
                with torch.no_grad():
                    values.append(float(log_probs(model, trace, table=table).sum()))
            weight[at] = before
            slope = (values[0] - values[1]) / (2 * STEP)
            assert abs(float(gradient[at])) > 1e-3, f"{trace.method}, {name}: nothing to compare"
            assert slope == pytest.approx(float(gradient[at]), rel=0.01), f"{trace.method}, {name}"


@on("default")
def test_traces_are_evaluated_together_as_one_by_one(engine, one_of_each):
    for trace, found in zip(one_of_each, evaluate(engine.hf_model, one_of_each), strict=True):
        assert off(found.thought, trace) < TOLERANCE, trace.method


@on("default")
def test_other_weights_have_other_log_probabilities(engine, one_of_each):
    model, _ = tiny.load(engine.path)
    with torch.no_grad():
        model.lm_head.weight.mul_(1.05)
    for trace in one_of_each:
        assert off(log_probs(model, trace), trace) > 100 * TOLERANCE, trace.method


@on("default")
def test_the_noise_of_a_trace_comes_back(engine, one_of_each):
    (trace,) = (t for t in one_of_each if t.method == "soft_gumbel")
    g, weights = gumbel_noise(trace).numpy(), drawn_weights(trace)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_p = trace.params["gumbel_temperature"] * np.log(weights) - g  # up to a step's constant
        log_p[weights == 0] = np.nan
        falling = log_p[:, :-1] - log_p[:, 1:]  # the most probable one comes first
    assert np.nanmin(falling) > -1e-3 and np.nanmax(falling) > 1


@on("default")
def test_the_answers_log_probabilities_are_sglangs(engine):
    asked = Case("answer", "sum", ROLL | {"method": "soft_gumbel", "max_thinking_tokens": 5}, 24, 3)
    sampling = sampling_params(asked) | {"temperature": 0.8}
    out = engine.generate([prompt_ids(engine, asked)], [sampling], return_logprob=True)[0]
    (trace,) = traces_of([out])
    found = answer_log_probs(engine.hf_model, trace).detach().numpy()
    theirs = [value for value, *_ in out["meta_info"]["output_token_logprobs"]]
    assert len(found) == 24 - len(trace.steps) > 10 and np.abs(found).max() > 0.1
    assert found == pytest.approx(theirs[len(trace.steps) :], abs=TOLERANCE)


@on("default")
def test_who_does_not_ask_gets_nothing_next_to_who_does(engine):
    plain, rolled = BY_METHOD[1], EVERY[1]
    outs = compare_all(engine, [plain, rolled, plain])
    first, second, third = traces_of(outs)
    assert not first.steps.extra and not third.steps.extra
    assert set(second.steps.extra) == {"logprobs", "drawn"}
    assert (second.steps.extra["drawn"][:, 0] == second.output_ids[: len(second.steps)]).all()


@on("default")
def test_every_sample_has_a_seed_and_draws_of_its_own(engine):
    asked = EVERY[1]
    sampling = sampling_params(asked) | {"n": 3}
    outs = engine.generate([prompt_ids(engine, asked)], [sampling])
    traces = traces_of(outs)
    assert (
        len({t.seed for t in traces})
        == 3
        == len({t.steps.extra["drawn"].tobytes() for t in traces})
    )
    for trace in traces:
        assert off(log_probs(engine.hf_model, trace), trace) < TOLERANCE


@on("default")
def test_weights_have_a_version(engine):
    asked = EVERY[1]

    def version() -> str | None:
        outs = engine.generate([prompt_ids(engine, asked)], [sampling_params(asked)])
        return traces_of(outs)[0].versions.get("weights")

    assert version() == "default"
    try:
        engine.run(inside.update_weights, str(engine.path), "step 7")
        assert version() == "step 7"
    finally:
        engine.run(inside.update_weights, str(engine.path), "default")


@on("default")
@pytest.mark.parametrize("method", ["soft_gumbel", "soft_dirichlet", "soft_noise"])
def test_densities_of_rounded_weights_are_refused(engine, method):
    asked = Case("", "sum", ROLL | {"method": method, "weight_bits": 8})
    request = {"input_ids": prompt_ids(engine, asked), "sampling_params": sampling_params(asked)}
    error = engine.run(inside.error_of, **request)
    assert "soft_thinking.return_rollout" in error and "soft_thinking.weight_bits=8" in error
