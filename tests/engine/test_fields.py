"""Fields of SGLang's requests next to Soft Thinking (docs/fields.toml names these tests).

A soft request whose thought is greedy mixes nothing: with any other field it has to give what a
discrete request gives. One that mixes must be fed what the field allows, and return what it was fed.
"""

from typing import Any

import pytest
import torch

from tests.conftest import on
from tests.engine import inside
from tests.engine.asking import ask, compare_all, expected, joined, observed, prompt_ids
from tests.engine.cases import ANSWER, CASES, SOFT, by_name, sampling_params
from tests.issue_table import row
from tests.models.tiny import OPEN_PROMPTS, PROMPTS
from tests.oracle import compare

GREEDY = {"custom_params": {"soft_thinking": {"temperature": 0.0}}}
MIXING = by_name("soft, wide and unfiltered")
DISALLOWED = "sglang.srt.sampling.custom_logit_processor:DisallowedTokensLogitsProcessor"
VOLATILE = {"id", "soft_thinking"}
TIMES = ("_ts", "_latency", "_time", "_duration", "_throughput")
"""Of `meta_info`: other at each request, or ours."""


class Thought:
    """A prompt whose discrete, greedy answer closes the thought by itself, and a later token."""

    def __init__(self, engine) -> None:
        end = engine.token_id("</think>")
        for name in OPEN_PROMPTS:
            if name == "digits":  # raw text: nothing says that its thought is open
                continue
            self.prompt, self.text = prompt_ids(engine, by_name_of(name)), PROMPTS[name]
            sampling = ANSWER | {"max_new_tokens": 80}
            ids = engine.generate([self.prompt], [sampling])[0]["output_ids"]
            at = ids.index(end) if end in ids else len(ids)
            new = [i for i in range(at + 2, len(ids) - 2) if ids[i] not in ids[:i] + self.prompt]
            if new:
                self.stop, self.early, self.length = ids[new[0]], ids[at // 2], new[0]
                self.stop_text = engine.tokenizer.decode([self.stop])
                return
        raise AssertionError("no prompt has a thought that ends by itself and a new token after it")


def by_name_of(prompt: str):
    return next(case for case in CASES if case.prompt == prompt)


def sampling(**more) -> dict[str, Any]:
    """A field of SamplingParams."""
    return {"sampling_params": more}


REQUESTS = {
    "stop": lambda t: sampling(stop=[t.stop_text]),
    "stop_token_ids": lambda t: sampling(stop_token_ids=[t.stop], ignore_eos=False),
    "stop_regex": lambda t: sampling(stop_regex=_literal(t.stop_text)),
    "no_stop_trim": lambda t: sampling(stop=[t.stop_text], no_stop_trim=True),
    "min_new_tokens": lambda t: sampling(stop_token_ids=[t.early], min_new_tokens=t.length),
    "ignore_eos": lambda t: sampling(ignore_eos=False),
    "logit_bias": lambda t: sampling(logit_bias={str(t.early): -100.0}),
    "frequency_penalty": lambda t: sampling(frequency_penalty=1.0),
    "presence_penalty": lambda t: sampling(presence_penalty=1.5),
    "repetition_penalty": lambda t: sampling(repetition_penalty=1.5),
    "skip_special_tokens": lambda t: sampling(skip_special_tokens=False),
    "spaces_between_special_tokens": lambda t: sampling(spaces_between_special_tokens=False),
    "sampling_seed": lambda t: sampling(sampling_seed=7),
    "n": lambda t: sampling(n=2),
    "text": lambda t: {"text": t.text, "input_ids": None},
    "return_logprob": lambda t: {"return_logprob": True},
    "logprob_start_len": lambda t: {"return_logprob": True, "logprob_start_len": 0},
    "top_logprobs_num": lambda t: {"return_logprob": True, "top_logprobs_num": 3},
    "token_ids_logprob": lambda t: {"return_logprob": True, "token_ids_logprob": [t.early, t.stop]},
    "return_text_in_logprobs": lambda t: {"return_logprob": True, "return_text_in_logprobs": True},
    "return_hidden_states": lambda t: {"return_hidden_states": True},
    "return_prompt_token_ids": lambda t: {"return_prompt_token_ids": True},
    "rid": lambda t: {"rid": "a request"},
    "session_id": lambda t: {"session_id": "a session"},
    "extra_key": lambda t: {"extra_key": "a class"},
    "cache_salt": lambda t: {"cache_salt": "salt"},
    "priority": lambda t: {"priority": 3},
    "routing_key": lambda t: {"routing_key": "a"},
    "require_reasoning": lambda t: {"require_reasoning": True},
    "custom_logit_processor": lambda t: {
        "custom_logit_processor": DISALLOWED,
        "sampling_params": {"custom_params": {"token_ids": [t.early]}},
    },
}  # fmt: skip
"""Field: what a request has to say to use it."""
SAME_ANSWER = {
    "return_logprob", "logprob_start_len", "top_logprobs_num", "token_ids_logprob", "n", "text",
    "return_text_in_logprobs", "return_hidden_states", "return_prompt_token_ids", "rid",
    "session_id", "extra_key", "cache_salt", "priority", "routing_key", "ignore_eos",
    "require_reasoning", "sampling_seed", "skip_special_tokens", "spaces_between_special_tokens",
}  # fmt: skip
"""The others change the answer, or the test would show nothing."""


def _literal(text: str) -> str:
    return "".join(f"[{c}]" if c not in "^\\]" else f"\\{c}" for c in text)


@pytest.fixture(scope="module")
def thought(engine) -> Thought:
    return Thought(engine)


def request(thought: Thought, field: str | None, custom: dict) -> dict:
    """A request of 80 tokens that uses `field`. custom: its custom_params."""
    made: dict[str, Any] = {"input_ids": thought.prompt}
    more = REQUESTS[field](thought) if field else {}
    own = more.pop("sampling_params", {})
    custom = own.pop("custom_params", {}) | custom
    params = ANSWER | {"max_new_tokens": 80, "custom_params": custom} | own
    return made | more | {"sampling_params": params}


def generate(engine, **fields) -> dict | list[dict]:
    engine.flush()  # whether the prompt is cached decides which prompt logprobs there are
    return engine.run(inside.generate_request, **fields)


def lasting(meta_info: dict) -> dict:
    """What is the same when the request is sent again."""
    return {
        name: value
        for name, value in meta_info.items()
        if name not in VOLATILE and not name.endswith(TIMES)
    }


def same(a: Any, b: Any) -> bool:
    """Equal, but for rounding."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == pytest.approx(b, abs=1e-4) if isinstance(a, float) else a == b


@on("features")
@pytest.mark.parametrize("field", REQUESTS)
def test_a_thought_that_mixes_nothing_is_as_discrete(engine, thought, field):
    soft = generate(engine, **request(thought, field, GREEDY["custom_params"]))
    discrete = generate(engine, **request(thought, field, {"soft_thinking": False}))
    plain = generate(engine, **request(thought, None, {"soft_thinking": False}))
    answers = (soft, discrete) if field == "n" else ([soft], [discrete])
    assert len(answers[0]) == (2 if field == "n" else 1)
    for one, other in zip(*answers, strict=True):
        info = one["meta_info"].get("soft_thinking")
        assert info and info["thinking_tokens"] > 0, "it did not think"
        assert one["output_ids"] == other["output_ids"] and one["text"] == other["text"]
        theirs, ours = (lasting(answer["meta_info"]) for answer in (other, one))
        assert theirs.keys() == ours.keys()
        for name in theirs:
            assert same(ours[name], theirs[name]), name
        changed = (other["output_ids"], other["text"]) != (plain["output_ids"], plain["text"])
        assert changed == (field not in SAME_ANSWER), "the field shows nothing"


FORBIDDING = {
    "logit_bias": lambda token: {"sampling_params": {"logit_bias": {str(token): -100.0}}},
    "min_new_tokens": lambda token: {
        "sampling_params": {"min_new_tokens": MIXING.max_new_tokens, "stop_token_ids": [token]}
    },
    "custom_logit_processor": lambda token: {
        "custom_logit_processor": DISALLOWED,
        "sampling_params": {"custom_params": {"token_ids": [token]}},
    },
}


@on("features")
@pytest.mark.parametrize("field", FORBIDDING)
@row(
    "B10",
    "min_new_tokens, logit_bias, custom_logit_processor",
    "not tested",
    "a token that they rule out is not mixed in",
)
def test_a_token_that_a_field_forbids_is_not_fed(engine, field):
    params = sampling_params(MIXING)
    prompt = prompt_ids(engine, MIXING)
    (before,) = ask(engine, [MIXING])
    trace = before["meta_info"]["soft_thinking"]["trace"]
    token = trace["ids"][0][1]  # mixed in from the first step, and emitted by none before it
    more = FORBIDDING[field](token)
    own = more.pop("sampling_params")
    custom = own.pop("custom_params", {}) | params["custom_params"]
    fields = {"input_ids": prompt, "sampling_params": params | own | {"custom_params": custom}}
    after = generate(engine, **fields, **more)["meta_info"]["soft_thinking"]
    assert after["thinking_tokens"] > 0 and after["mean_concept_size"] > 1
    fed = [i for ids in after["trace"]["ids"][: after["thinking_tokens"]] for i in ids]
    assert token not in fed
    assert set(trace["ids"][0]) - {token} <= set(after["trace"]["ids"][0]), "the rest is mixed"


@on("features")
def test_the_hidden_states_are_those_that_chose_what_was_fed(engine):
    fields = {"input_ids": prompt_ids(engine, MIXING), "sampling_params": sampling_params(MIXING)}
    out = generate(engine, **fields, return_hidden_states=True)
    trace = out["meta_info"]["soft_thinking"]["trace"]
    states = out["meta_info"]["hidden_states"]
    # The first entry has every position of the prompt; each other one has one decode step.
    last = [states[0][-1], *states[1:]]
    logits = (
        engine.hf_model.get_output_embeddings().weight @ torch.tensor(last).view(len(last), -1).T
    )
    steps = out["meta_info"]["soft_thinking"]["thinking_tokens"]
    assert steps > 5 and len(last) >= steps
    best = logits.T.topk(3).indices.tolist()
    assert [ids[0] for ids in trace["ids"][:steps]] == [ids[0] for ids in best[:steps]]
    sizes = [min(3, len(ids)) for ids in trace["ids"][:steps]]
    assert [ids[:n] for ids, n in zip(trace["ids"], sizes)] == [
        ids[:n] for ids, n in zip(best, sizes)
    ]
    compare(observed(out), expected(engine, MIXING))


@on("features")
def test_a_streams_interval_changes_no_step(engine):
    case = by_name("soft, long prompt")
    chunks = {
        every: engine.stream(
            prompt_ids(engine, case), sampling_params(case) | {"stream_interval": every}
        )
        for every in (1, 7)
    }
    assert len(chunks[1]) > 3 * len(chunks[7]) > 3
    for parts in chunks.values():
        compare(observed(joined(parts)), expected(engine, case))


@on("features")
def test_requests_that_a_higher_priority_preempts(engine):
    """SGLang frees what the preempted requests have and prefills them again."""
    cases = [case for case in CASES if case.soft is not None] * 2
    cases = cases[: engine.setup.args["max_running_requests"]]
    low = [
        {"input_ids": prompt_ids(engine, c), "sampling_params": sampling_params(c), "priority": 0}
        for c in cases
    ]
    first = by_name("soft, long prompt")
    high = {
        "input_ids": prompt_ids(engine, first), "sampling_params": sampling_params(first),
        "priority": 100,
    }  # fmt: skip
    engine.flush()
    chunks, *outs, last = engine.run(inside.preempted, low, high)
    outs.insert(0, joined(chunks))
    for case, out in zip([*cases, first], [*outs, last], strict=True):
        compare(observed(out), expected(engine, case))
    counts = [sum(out["meta_info"]["soft_thinking"]["retractions"].values()) for out in outs]
    assert sum(counts) > 0, "nothing was preempted"


@on("features")
def test_nothing_is_left_of_these_requests(engine):
    compare_all(engine, [case for case in CASES if case.soft in (None, SOFT)])
