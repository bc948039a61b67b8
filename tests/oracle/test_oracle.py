"""The oracle is tested too: by hand-computed steps, scripted logits, a second way to compute a trace, and
wrong data."""

import ast
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.models import tiny
from tests.models.describe import drift
from tests.models.describe import traces as traces_of
from tests.oracle import Observed, Request, TraceMismatch, compare, loop, run, thinking_step
from tests.oracle.steps import argmax, margins

ALL = {"top_k": -1, "top_p": 1.0, "min_p": 0.0, "max_topk": 10, "temperature": 1.0}
START, END, EOS = 8, 9, 7  # of the scripted model, whose vocabulary is 0..9


def log(*probs: float) -> torch.Tensor:
    return torch.tensor(probs).log()


def step(logits: torch.Tensor, **changes):
    return thinking_step(logits, **(ALL | changes))


# --- one step, by hand --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "ids", "weights"),
    [
        ({}, [1, 0, 2, 3], [1 / 2, 1 / 4, 1 / 8, 1 / 8]),
        ({"top_k": 3}, [1, 0, 2], [4 / 7, 2 / 7, 1 / 7]),
        ({"top_k": 4}, [1, 0, 2, 3], [1 / 2, 1 / 4, 1 / 8, 1 / 8]),
        ({"max_topk": 2}, [1, 0], [2 / 3, 1 / 3]),
        ({"max_topk": 1}, [1], [1]),
        ({"top_p": 0.49}, [1], [1]),
        ({"top_p": 0.51}, [1, 0], [2 / 3, 1 / 3]),
        ({"top_p": 0.5}, [1, 0], [2 / 3, 1 / 3]),  # the mass before an entry may equal top_p
        ({"top_k": 3, "top_p": 0.53}, [1], [1]),  # 4/7 > 0.53: top-p after the renormalisation of top-k
        ({"min_p": 0.5}, [1, 0], [2 / 3, 1 / 3]),
        ({"min_p": 0.51}, [1], [1]),
        ({"min_p": 0.25}, [1, 0, 2, 3], [1 / 2, 1 / 4, 1 / 8, 1 / 8]),
        ({"temperature": 0.5}, [1, 0, 2, 3], [16 / 22, 4 / 22, 1 / 22, 1 / 22]),
        ({"temperature": 0.5, "top_p": 0.73}, [1, 0], [16 / 20, 4 / 20]),
    ],
)
def test_filter_by_hand(changes, ids, weights):
    found = step(log(1 / 4, 1 / 2, 1 / 8, 1 / 8), **changes)
    assert found.ids == ids
    assert found.weights == pytest.approx(weights, abs=1e-6)


def test_entropy_by_hand_is_over_the_whole_vocabulary_after_temperature():
    logits = log(1 / 4, 1 / 2, 1 / 8, 1 / 8)
    assert step(logits, max_topk=1, top_k=1).entropy == pytest.approx(1.75 * math.log(2), abs=1e-6)
    p = [16 / 22, 4 / 22, 1 / 22, 1 / 22]
    assert step(logits, temperature=0.5).entropy == pytest.approx(-sum(x * math.log(x) for x in p), abs=1e-6)


def test_masked_words_have_no_entropy_and_no_slot():
    found = step(torch.tensor([0.0, -math.inf, 0.0]), max_topk=3, min_p=0.001)
    assert (found.ids, found.weights) == ([0, 2], [0.5, 0.5])
    assert found.entropy == pytest.approx(math.log(2), abs=1e-6)


def test_of_equal_words_the_smaller_id_comes_first():
    logits = torch.zeros(300)
    assert step(logits, max_topk=4).ids == [0, 1, 2, 3]
    assert step(logits, temperature=0.0).ids == [0]
    assert argmax(torch.tensor([1.0, 3.0, 3.0])) == 1


def test_temperature_zero_is_one_hot_with_the_entropy_at_temperature_one():
    found = step(log(1 / 4, 1 / 2, 1 / 8, 1 / 8), temperature=0.0, top_k=30, max_topk=5)
    assert (found.ids, found.weights) == ([1], [1.0])
    assert found.entropy == pytest.approx(1.75 * math.log(2), abs=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_filter_against_loops_in_python(seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(50, generator=generator, dtype=torch.float64) * 3
    top_k, top_p, min_p, most = [
        (5, 0.9, 0.01, 10),
        (-1, 0.95, 0.0, 3),
        (30, 1.0, 0.05, 30),
        (12, 0.7, 0.2, 4),
    ][seed % 4]
    found = step(logits, temperature=0.6, top_k=top_k, top_p=top_p, min_p=min_p, max_topk=most)
    scores = [math.exp(z / 0.6) for z in logits.tolist()]
    ranked = sorted(range(50), key=lambda i: -scores[i])[: top_k if top_k > 0 else 50]
    total, seen, kept = sum(scores[i] for i in ranked), 0.0, []
    for i in ranked:
        if seen / total > top_p:
            break
        seen += scores[i]
        if scores[i] >= min_p * scores[ranked[0]]:
            kept.append(i)
    kept = kept[:most]
    assert found.ids == kept
    assert found.weights == pytest.approx([scores[i] / sum(scores[j] for j in kept) for i in kept], abs=1e-12)


def test_margins_by_hand():
    logits = log(0.4, 0.3, 0.2, 0.1)
    found = margins(logits, temperature=1.0, top_k=3, top_p=0.8, min_p=0.3, max_topk=2)
    assert found["argmax"] == pytest.approx(math.log(4 / 3), abs=1e-6)
    assert found["top_p"] == pytest.approx(0.8 - 4 / 9, abs=1e-6)  # the cut behind slot 2 cannot show
    assert found["min_p"] == pytest.approx(math.log(0.3 / 0.4 / 0.3), abs=1e-6)
    assert found["order"] == pytest.approx(math.log(4 / 3), abs=1e-6)
    by_rank = margins(log(0.4, 0.25, 0.2499, 0.1001), temperature=1.0, top_k=-1, top_p=1.0, min_p=0.0, max_topk=2)
    assert by_rank["order"] == pytest.approx(math.log(0.25 / 0.2499), abs=1e-6)  # slot 2 and the word left out
    assert {"top_p", "min_p"}.isdisjoint(by_rank)


# --- a whole request, scripted ------------------------------------------------------------------------------


class Scripted:
    """A "model" whose logits at output step i are `script[i]`; the last one repeats. Records what it was
    fed."""

    def __init__(self, *script: dict[int, float]):
        self.script = script
        self.table = torch.nn.Embedding(10, 10, _weight=torch.eye(10))
        self.fed = []

    def get_input_embeddings(self):
        return self.table

    def __call__(self, inputs_embeds, past_key_values, use_cache, logits_to_keep):
        probs = torch.full((10,), 1e-30)
        for token, p in self.script[min(len(self.fed), len(self.script) - 1)].items():
            probs[token] = p
        self.fed.append(inputs_embeds[0])
        return SimpleNamespace(logits=probs.log()[None, None], past_key_values="cache")


def ask(*script: dict[int, float], prompt=(1, START), **changes):
    model = Scripted(*script)
    changes = {"max_new_tokens": 6, "temperature": 1.0, "top_p": 1.0, "eos_ids": frozenset([EOS])} | changes
    trace = run(model, list(prompt), Request(think_start_id=START, think_end_id=END, **changes))
    return trace, model


TWO = {2: 0.75, 3: 0.25}  # entropy 0.5623
SURE = {2: 1.0}
FINISH = {END: 1.0}
ANSWER = {5: 0.6, 4: 0.4}
STOP = {EOS: 1.0}


def test_think_end_of_its_own_and_what_is_fed():
    trace, model = ask(TWO, {END: 0.6, 2: 0.4}, ANSWER, STOP)
    assert trace.output_ids == [2, END, 5, EOS]
    assert [(s.ids, s.forced) for s in trace.steps] == [([2, 3], None), ([END], None)]
    assert trace.steps[1].entropy == pytest.approx(0.6730, abs=1e-4)  # measured, although the token is one-hot
    assert (trace.ended, trace.finish, trace.thinking_tokens, trace.answer_tokens) == (
        "think_end",
        "stop",
        1,
        2,
    )
    assert trace.final_entropy == trace.steps[1].entropy
    assert trace.mean_entropy == pytest.approx((0.5623 + 0.6730) / 2, abs=1e-4)
    mixture = torch.tensor([0, 0, 0.75, 0.25, 0, 0, 0, 0, 0, 0])
    assert torch.allclose(model.fed[1][0], mixture, atol=1e-6)
    assert [f[0].argmax().item() for f in model.fed[2:]] == [END, 5]
    assert torch.equal(model.fed[2][0], model.table.weight[END])


def test_cold_stop_counts_consecutive_steps_below_the_threshold():
    trace, _ = ask(SURE, TWO, SURE, SURE, ANSWER, cold_stop_threshold=0.5, cold_stop_steps=2)
    assert trace.output_ids == [2, 2, 2, END, 5, 5]
    assert (trace.ended, trace.thinking_tokens, trace.steps[3].forced) == ("cold_stop", 3, "cold_stop")
    assert trace.steps[3].entropy == pytest.approx(0.0, abs=1e-6)
    assert trace.steps[1].margins["entropy"] == pytest.approx(0.0623, abs=1e-4)


def test_cold_stop_threshold_itself_is_not_low_and_the_answer_does_not_count():
    script = (TWO, TWO, FINISH, SURE)
    entropy = ask(*script)[0].steps[0].entropy
    trace, _ = ask(*script, cold_stop_threshold=entropy, cold_stop_steps=1, max_new_tokens=8)
    assert (trace.ended, trace.output_ids) == ("think_end", [2, 2, END, 2, 2, 2, 2, 2])
    trace, _ = ask(*script, cold_stop_threshold=entropy + 1e-6, cold_stop_steps=1, max_new_tokens=3)
    assert (trace.ended, trace.output_ids) == ("cold_stop", [END, 2, END])


@pytest.mark.parametrize("bound", [0, 1, 3])
def test_bound(bound):
    trace, _ = ask(TWO, max_thinking_tokens=bound, max_new_tokens=5)
    assert trace.output_ids == [2] * bound + [END] + [2] * (4 - bound)
    assert (trace.ended, trace.thinking_tokens, trace.steps[-1].forced) == ("bound", bound, "bound")


def test_order_of_reasons():
    both = {"cold_stop_threshold": 0.5, "cold_stop_steps": 2, "max_thinking_tokens": 1}
    assert ask(SURE, SURE, ANSWER, **both)[0].ended == "cold_stop"
    trace, _ = ask(SURE, FINISH, ANSWER, **both)
    assert (trace.ended, trace.steps[-1].forced) == ("think_end", None)


def test_thinking_that_does_not_end():
    trace, _ = ask(TWO)
    assert (trace.ended, trace.finish, trace.thinking_tokens, trace.answer_tokens) == (
        "length",
        "length",
        6,
        0,
    )
    trace, _ = ask(TWO, {EOS: 0.9, 2: 0.1})
    assert (trace.ended, trace.finish, trace.thinking_tokens) == ("stop", "stop", 2)
    assert trace.steps[1].ids == [EOS, 2]


@pytest.mark.parametrize(
    ("prompt", "phase"),
    [
        ([START], "thinking"),
        ([START, 1, END], "before"),
        ([START, END, START, 1], "thinking"),
        ([1, 2], "before"),
        ([END], "before"),
        ([START, END, 1], "before"),
    ],
)
def test_where_thinking_starts(prompt, phase):
    request = Request(think_start_id=START, think_end_id=END)
    assert loop.first_phase(prompt, request) == phase
    assert loop.first_phase(prompt, replace(request, method="hard")) == "answer"


def test_thinking_that_the_model_opens_itself_and_never_again():
    trace, model = ask({START: 0.9, 2: 0.1}, TWO, FINISH, {START: 1.0}, TWO, prompt=[1])
    assert trace.output_ids == [START, 2, END, START, 2, 2]
    assert (trace.first_step, trace.thinking_tokens, trace.answer_tokens, len(trace.steps)) == (1, 1, 3, 2)
    assert torch.equal(model.fed[1][0], model.table.weight[START])
    trace, _ = ask(FINISH, TWO, prompt=[1])  # think-end before any thinking is a word like another
    assert (trace.steps, trace.ended, trace.first_step) == ([], None, None)


def test_hard_request_has_no_concepts():
    trace, _ = ask(TWO, FINISH, TWO, method="hard", max_thinking_tokens=0)
    assert (trace.output_ids, trace.steps, trace.ended) == ([2, END, 2, 2, 2, 2], [], None)


# --- penalties ----------------------------------------------------------------------------------------------


def adjusted(logits, prompt, output, **changes):
    request = Request(think_start_id=START, think_end_id=END, **changes)
    return loop.adjust(torch.tensor(logits), prompt, output, request).tolist()


def test_penalties_by_hand():
    logits = [2.0, -2.0, 1.0, 0.5]
    assert adjusted(logits, [3], [0, 0, 1], frequency_penalty=0.5) == [1.0, -2.5, 1.0, 0.5]
    assert adjusted(logits, [3], [0, 0, 1], presence_penalty=0.5) == [1.5, -2.5, 1.0, 0.5]
    assert adjusted(logits, [3], [0, 0, 1], repetition_penalty=2.0) == [
        1.0,
        -4.0,
        1.0,
        0.5,
    ]  # not the prompt's 3
    both = adjusted(logits, [3], [0, 0, 1], frequency_penalty=0.5, presence_penalty=0.5, repetition_penalty=2.0)
    assert both == [0.25, -6.0, 1.0, 0.5]
    assert adjusted(logits, [3], [0], repetition_penalty=2.0, logit_bias={0: 1.0, 3: -1.0}) == [
        2.0,
        -2.0,
        1.0,
        -0.5,
    ]
    assert adjusted(logits, [3], [0], min_new_tokens=2, eos_ids=frozenset([2]))[2] == -math.inf
    assert adjusted(logits, [3], [0, 0], min_new_tokens=2, eos_ids=frozenset([2])) == logits


def test_penalties_under_the_overlap_schedule_are_one_token_behind():
    logits = [2.0, 2.0, 2.0, 2.0]
    changes = {"frequency_penalty": 1.0, "penalty_history": "overlap"}
    assert adjusted(logits, [3], [], **changes) == logits
    assert adjusted(logits, [3], [0], **changes) == [2.0, 2.0, 2.0, 1.0]
    assert adjusted(logits, [3], [0, 0, 1], **changes) == [0.0, 2.0, 2.0, 1.0]


def test_penalties_count_anew_after_a_retraction():
    logits = [2.0, 2.0, 2.0, 2.0]
    changes = {"frequency_penalty": 1.0, "retracted_at": [1, 3]}
    assert adjusted(logits, [3], [0], **changes) == logits
    assert adjusted(logits, [3], [0, 1], **changes) == [2.0, 1.0, 2.0, 2.0]
    assert adjusted(logits, [3], [0, 1, 1], **changes) == logits
    assert adjusted(logits, [3], [0, 1, 1, 0], **changes) == [1.0, 2.0, 2.0, 2.0]
    overlap = changes | {"penalty_history": "overlap"}
    assert adjusted(logits, [3], [0, 1, 1], **overlap) == logits
    assert adjusted(logits, [3], [0, 1, 1, 0], **overlap) == [2.0, 1.0, 2.0, 2.0]
    assert adjusted(logits, [3], [0, 1, 1, 0, 2], **overlap) == [1.0, 1.0, 2.0, 2.0]


def test_penalties_change_concept_tokens_and_count_readable_ones():
    trace, _ = ask(TWO, TWO, frequency_penalty=10.0, max_new_tokens=3)
    assert [s.ids[0] for s in trace.steps] == [2, 3, 2] == trace.output_ids


# --- against transformers -----------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tiny matrices gain nothing from threads, and lose much on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")
    models = {}

    def get(family):
        if family not in models:
            models[family] = tiny.load(tiny.build(family, directory))
        return models[family]

    return get


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
        trace = run(model, ids, request_for(tokenizer, method="hard"))
        generated = model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=80)[0, len(ids) :].tolist()
        assert trace.output_ids == generated


@families
def test_temperature_zero_thinks_the_hard_tokens(loaded, family):
    model, tokenizer = loaded(family)
    ids = tiny.prompt_ids(tokenizer, "sum")
    hard = run(model, ids, request_for(tokenizer, method="hard"))
    soft = run(model, ids, request_for(tokenizer, temperature=0.0))
    assert soft.output_ids == hard.output_ids
    assert soft.thinking_tokens > 0 and all(s.weights == [1.0] for s in soft.steps)


def positions_fed(model, ids, trace, readable: bool):
    """[n, hidden] everything a trace feeds but its last token; `readable`: with the argmax ids in place of
    mixtures."""
    rows = [loop.embed_tokens(model, ids)]
    for position, token in enumerate(trace.output_ids[:-1]):
        index = position - trace.first_step
        if readable or not 0 <= index < len(trace.steps):
            rows.append(loop.embed_tokens(model, [token]))
        else:
            rows.append(loop.embed_mixture(model, trace.steps[index].ids, trace.steps[index].weights))
    return torch.cat(rows)


@families
@torch.inference_mode()
def test_trace_again_in_one_pass_without_a_cache(loaded, family):
    """What the trace says was fed, in a single forward, gives the trace; the readable ids in its place do
    not."""
    model, tokenizer = loaded(family)
    ids = tiny.prompt_ids(tokenizer, "digits")
    request = request_for(tokenizer)
    trace = run(model, ids, request)
    knobs = {name: getattr(request, name) for name in ALL}
    worst = {}
    for readable in (False, True):
        logits = model(inputs_embeds=positions_fed(model, ids, trace, readable)[None], use_cache=False).logits[0]
        errors = [0.0]
        for step_, row in zip(trace.steps, logits[len(ids) - 1 :], strict=False):
            again = thinking_step(row, **knobs)
            errors.append(abs(again.entropy - step_.entropy))
            if not readable and step_.ids != [request.think_end_id]:
                assert again.ids == step_.ids
                errors += [abs(a - b) for a, b in zip(again.weights, step_.weights, strict=True)]
        worst[readable] = max(errors)
    assert worst[False] < 1e-5
    assert worst[True] > 1e-2


@families
def test_feeding_the_argmax_in_place_of_the_mixture_is_seen(loaded, family, monkeypatch):
    model, tokenizer = loaded(family)
    ids = tiny.prompt_ids(tokenizer, "chat")
    right = run(model, ids, request_for(tokenizer))
    monkeypatch.setattr(loop, "embed_mixture", lambda model, ids, weights: loop.embed_tokens(model, ids[:1]))
    wrong = run(model, ids, request_for(tokenizer))
    with pytest.raises(TraceMismatch) as caught:
        compare(Observed.of(wrong), right, atol=1e-3, tie=1e-5)
    assert caught.value.position <= 10 and not caught.value.tie


# --- the models ---------------------------------------------------------------------------------------------


WIDE = {"temperature": 1.0, "max_topk": 20, "top_k": -1, "top_p": 1.0, "min_p": 0.0}


@families
def test_traces_are_varied_and_the_same_in_float64(loaded, family):
    """Rounding does not decide: a comparison of engine and oracle on these prompts means something."""
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
        assert "think_end" in ended or family == "gemma"
        opens = traces["opens"].first_step
        assert (opens is None) == (family in tiny.NEVER_OPENS), "the model opens the thinking itself"


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
    assert tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True).endswith("\n<think>")
    lengths = [len(tiny.prompt_ids(tokenizer, name)) for name in tiny.PROMPTS]
    assert min(lengths) <= 5 and max(lengths) >= 55


# --- the comparison, with wrong data ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair():
    trace, _ = ask(TWO, {2: 0.5, 3: 0.3, 4: 0.2}, TWO, FINISH, ANSWER, STOP, max_new_tokens=9)
    return trace, Observed.of(trace)


def concept(observed: Observed, index: int, **changes) -> Observed:
    concepts = list(observed.concepts)
    concepts[index] = concepts[index]._replace(**changes)
    return replace(observed, concepts=concepts)


def test_equal_traces_compare_equal(pair):
    trace, observed = pair
    assert compare(observed, trace) is None
    assert compare(replace(observed, finish=None), trace) is None
    assert compare(replace(observed, concepts=[tuple(c) for c in observed.concepts]), trace) is None


def test_unused_slots_and_rounding_are_ignored(pair):
    trace, observed = pair
    assert compare(concept(observed, 0, ids=[2, 3, 2, 2], weights=[0.750004, 0.249996, 0.0, 0.0]), trace) is None
    assert compare(concept(observed, 0, entropy=observed.concepts[0].entropy + 4e-6), trace) is None


@pytest.mark.parametrize(
    ("change", "position", "words"),
    [
        (lambda o: concept(o, 1, ids=[3, 2, 4]), 1, "ids differ"),
        (lambda o: concept(o, 1, ids=[2, 4, 3]), 1, "ids differ"),
        (lambda o: concept(o, 1, ids=[2, 3], weights=[0.625, 0.375]), 1, "ids differ"),
        (lambda o: concept(o, 1, weights=[0.5, 0.30002, 0.2]), 1, "weight of slot 1"),
        (lambda o: concept(o, 1, weights=[0.5, math.nan, 0.2]), 1, "weight of slot 1"),
        (lambda o: concept(o, 1, weights=[0.5, 0.3]), 1, "3 ids but 2 weights"),
        (lambda o: concept(o, 2, entropy=o.concepts[2].entropy + 2e-5), 2, "entropy"),
        (lambda o: concept(o, 2, entropy=math.nan), 2, "entropy"),
        (lambda o: concept(o, 3, ids=[2]), 3, "ids differ"),
        (lambda o: replace(o, concepts=o.concepts[1:]), 0, "entropy|ids differ"),
        (lambda o: replace(o, concepts=o.concepts[:-1]), 3, "missing in the engine"),
        (lambda o: replace(o, concepts=[*o.concepts, o.concepts[0]]), 4, "missing in the oracle"),
        (lambda o: replace(o, concepts=[]), 0, "missing in the engine"),
        (lambda o: replace(o, output_ids=[2, 2, 2, END, 4, EOS]), 4, "token: engine 4, oracle 5"),
        (lambda o: replace(o, output_ids=o.output_ids[:-1]), 5, "token: engine None, oracle 7"),
        (lambda o: replace(o, output_ids=[*o.output_ids, 2]), 6, "token: engine 2, oracle None"),
        (lambda o: replace(o, thinking_tokens=4), None, "thinking_tokens: engine 4, oracle 3"),
        (lambda o: replace(o, ended="cold_stop"), None, "ended: engine 'cold_stop', oracle 'think_end'"),
        (lambda o: replace(o, finish="length"), None, "finish: engine 'length', oracle 'stop'"),
    ],
)
def test_wrong_data_is_detected(pair, change, position, words):
    trace, observed = pair
    with pytest.raises(TraceMismatch, match=words) as caught:
        compare(change(observed), trace)
    assert caught.value.position == position
    assert not caught.value.tie


def test_concepts_of_a_request_that_never_thinks_are_detected(pair):
    trace, _ = ask(ANSWER, prompt=[1])
    with pytest.raises(TraceMismatch, match="the oracle does not"):
        compare(replace(Observed.of(trace), concepts=pair[1].concepts), trace)


def test_a_tie_is_a_mismatch_that_says_so():
    trace, _ = ask({2: 0.500001, 3: 0.499999}, max_new_tokens=1)
    wrong = replace(concept(Observed.of(trace), 0, ids=[3, 2]), output_ids=[3])
    with pytest.raises(TraceMismatch, match="a tie") as caught:
        compare(wrong, trace)
    assert caught.value.tie
    with pytest.raises(TraceMismatch, match="a true mismatch") as caught:
        compare(wrong, trace, tie=1e-7)
    assert not caught.value.tie


def test_the_message_shows_both_sides_and_the_margins(pair):
    trace, observed = pair
    with pytest.raises(TraceMismatch) as caught:
        compare(concept(observed, 1, ids=[9, 3, 4]), trace)
    for words in (
        "output position 1 of 6",
        "engine: token 2",
        "oracle: token 2",
        "[9, 3, 4]",
        "[2, 3, 4]",
        "argmax",
        "order",
    ):
        assert words in str(caught.value)


# --- independence -------------------------------------------------------------------------------------------


def test_the_oracle_imports_neither_the_plugin_nor_sglang():
    files = [p for folder in (Path(__file__).parent, Path(tiny.__file__).parent) for p in folder.glob("*.py")]
    assert len(files) >= 6
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [n for n in names if n.startswith("sglang")], path
