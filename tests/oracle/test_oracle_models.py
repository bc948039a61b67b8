"""The oracle on tiny models: against transformers' own `generate`, a second way to compute a trace;
and what the models must be for that to mean something."""

import pytest
import torch

from tests.models import tiny
from tests.models.describe import drift
from tests.models.describe import traces as traces_of
from tests.oracle import Observed, Request, TraceMismatch, compare, loop, run, thinking_step

KNOBS = ("temperature", "top_k", "top_p", "min_p", "max_topk")


def request_for(tokenizer, **changes) -> Request:
    start, end = tokenizer.convert_tokens_to_ids(tiny.THINK)
    changes = {"max_new_tokens": 80, "eos_ids": frozenset([tokenizer.eos_token_id])} | changes
    return Request(think_start_id=start, think_end_id=end, **changes)


families = pytest.mark.parametrize("family", tiny.FAMILIES)


@families
@torch.inference_mode()
def test_one_hot_embedding_is_the_token(loaded, family):
    model, tokenizer = loaded(family)
    ids = tiny.prompt_ids(tokenizer, "chat")
    by_ids = model(input_ids=torch.tensor([ids])).logits
    one_hot = torch.cat([loop.embed_mixture(model, [i, 0, 1], [1.0, 0.0, 0.0]) for i in ids])
    assert torch.equal(model(inputs_embeds=one_hot[None]).logits, by_ids)
    assert torch.equal(model(inputs_embeds=loop.embed_tokens(model, ids)[None]).logits, by_ids)


@torch.inference_mode()
def test_gemma_mixture_is_scaled_once(loaded):
    model, _ = loaded("gemma")
    table = model.get_input_embeddings().weight
    expected = (0.75 * table[5] + 0.25 * table[9]) * model.config.hidden_size**0.5
    assert torch.allclose(loop.embed_mixture(model, [5, 9], [0.75, 0.25])[0], expected, atol=1e-6)


@families
def test_hard_request_is_greedy_generate(loaded, family):
    model, tokenizer = loaded(family)
    for name in ("tiny", "plain"):
        ids = tiny.prompt_ids(tokenizer, name)
        trace = run(model, ids, request_for(tokenizer, method="discrete"))
        generated = model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=80)[
            0, len(ids) :
        ].tolist()
        assert trace.output_ids == generated


@families
def test_temperature_zero_thinks_the_hard_tokens(loaded, family):
    model, tokenizer = loaded(family)
    ids = tiny.prompt_ids(tokenizer, "sum")
    discrete = run(model, ids, request_for(tokenizer, method="discrete"))
    soft = run(model, ids, request_for(tokenizer, temperature=0.0))
    assert soft.output_ids == discrete.output_ids
    assert soft.thinking_tokens > 0 and all(s.weights == [1.0] for s in soft.steps)


def positions_fed(model, ids, trace, tokens_only: bool):
    """[n, hidden] everything a trace feeds but its last token; tokens_only: with the argmax ids in
    place of mixtures."""
    rows = [loop.embed_tokens(model, ids)]
    for position, token in enumerate(trace.output_ids[:-1]):
        index = position - trace.first_step
        if tokens_only or not 0 <= index < len(trace.steps):
            rows.append(loop.embed_tokens(model, [token]))
        else:
            rows.append(
                loop.embed_mixture(model, trace.steps[index].ids, trace.steps[index].weights)
            )
    return torch.cat(rows)


@families
@torch.inference_mode()
def test_trace_again_in_one_pass_without_a_cache(loaded, family):
    """What the trace says was fed, in a single forward, gives the trace; the output tokens in its
    place do not."""
    model, tokenizer = loaded(family)
    ids = tiny.prompt_ids(tokenizer, "digits")
    request = request_for(tokenizer)
    trace = run(model, ids, request)
    knobs = {name: getattr(request, name) for name in KNOBS}
    worst = {}
    for tokens_only in (False, True):
        logits = model(
            inputs_embeds=positions_fed(model, ids, trace, tokens_only)[None], use_cache=False
        ).logits[0]
        errors = [0.0]
        for step_, row in zip(trace.steps, logits[len(ids) - 1 :], strict=False):
            again = thinking_step(row, **knobs)
            errors.append(abs(again.entropy - step_.entropy))
            if not tokens_only and step_.ids != [request.think_end_id]:
                assert again.ids == step_.ids
                errors += [abs(a - b) for a, b in zip(again.weights, step_.weights, strict=True)]
        worst[tokens_only] = max(errors)
    assert worst[False] < 1e-5
    assert worst[True] > 1e-2


@families
def test_feeding_the_argmax_in_place_of_the_mixture_is_seen(loaded, family, monkeypatch):
    model, tokenizer = loaded(family)
    ids = tiny.prompt_ids(tokenizer, "chat")
    right = run(model, ids, request_for(tokenizer))
    monkeypatch.setattr(
        loop, "embed_mixture", lambda model, ids, *_: loop.embed_tokens(model, ids[:1])
    )
    wrong = run(model, ids, request_for(tokenizer))
    with pytest.raises(TraceMismatch) as caught:
        compare(Observed.of(wrong), right, atol=1e-3, tie=1e-5)
    assert caught.value.position <= 10 and not caught.value.tie


# --- the models
# ---------------------------------------------------------------------------------------------


WIDE = {"temperature": 1.0, "max_topk": 20, "top_k": -1, "top_p": 1.0, "min_p": 0.0}


@pytest.mark.slow
@families
def test_traces_are_varied_and_the_same_in_float64(loaded, family):
    """Rounding does not decide: a comparison of engine and oracle on these prompts means
    something."""
    model, tokenizer = loaded(family)
    double = tiny.load(model.name_or_path, torch.float64)[0]
    for knobs in ({}, WIDE):
        traces, exact = traces_of(model, tokenizer, **knobs), traces_of(double, tokenizer, **knobs)
        assert max(drift(traces[name], exact[name]) for name in traces) < 5e-6
        for name, trace in traces.items():
            compare(Observed.of(trace), exact[name])
            assert len(trace.output_ids) < 60 or len(set(trace.output_ids)) >= 15
        entropies = [e for t in traces.values() for e in t.entropies]
        assert max(entropies) - min(entropies) > 0.5
        ended = [traces[name].ended for name in tiny.OPEN_PROMPTS]
        assert "length" in ended and traces["plain"].ended is None
        assert "stop_token" in ended or family == "gemma"
        opens = traces["opens"].first_step
        assert (opens is None) == (family in tiny.NEVER_OPENS), (
            "the model opens the thinking itself"
        )


@families
def test_a_build_is_deterministic(tmp_path, family):
    first, second = tiny.build(family, tmp_path / "a"), tiny.build(family, tmp_path / "b")
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()
    assert tiny.build(family, tmp_path / "a") == first


def test_tokenizer(loaded):
    _, tokenizer = loaded("llama")
    text = "hi é\n<think>a</think>b<|im_end|>"
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode(ids, skip_special_tokens=True) == text.removesuffix("<|im_end|>")
    assert len(tokenizer) == 261 and tokenizer.eos_token == "<|im_end|>"
    message = [{"role": "user", "content": "hi"}]
    assert tokenizer.apply_chat_template(
        message, tokenize=False, add_generation_prompt=True
    ).endswith("\n<think>")
    lengths = [len(tiny.prompt_ids(tokenizer, name)) for name in tiny.PROMPTS]
    assert min(lengths) <= 5 and max(lengths) >= 55
