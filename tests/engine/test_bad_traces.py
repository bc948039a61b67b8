"""What one client can send about a trace: refused by name, and nobody else notices."""

import base64
import json

import numpy as np
import pytest
import requests

from sglang_soft.trace import Trace
from tests.engine.bad_requests import TABLE, body_of
from tests.engine.bad_traces import Bad, Good

OPEN = "<|im_start|>user\nWhat is 43*34?<|im_end|>\n<|im_start|>assistant\n<think>\n"
OTHER = OPEN.replace("43*34", "17*21")
QUESTION = [{"role": "user", "content": "What is 43*34?"}]


def post(server: str, body: bytes | dict, path: str = "/generate") -> requests.Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    return requests.post(server + path, data=data, headers=headers, timeout=120)


def generate(server: str, soft, text: str = "", **sampling) -> requests.Response:
    sampling = {"temperature": 0.6, "max_new_tokens": 20} | sampling
    more = {k: sampling.pop(k) for k in ("return_logprob", "top_logprobs_num", "stream",
                                         "logprob_start_len") if k in sampling}  # fmt: skip
    sampling["custom_params"] = {"soft_thinking": soft}
    return post(server, {"text": text, "sampling_params": sampling} | more)


def made(answer: requests.Response) -> dict:
    assert answer.status_code == 200, answer.text[:500]
    return answer.json()["meta_info"]["soft_thinking"]["trace"]


@pytest.fixture(scope="module")
def good(server) -> Good:
    soft = {"return_concepts": True}
    return Good(
        made(generate(server, soft, OPEN)),
        made(generate(server, soft, OPEN, max_new_tokens=200)),
        made(generate(server, soft | {"method": "soft_noise"}, OPEN)),
        made(generate(server, soft | {"thinking_start": "never"}, OPEN)),
    )


def healthy(server: str) -> tuple:
    """What a request of somebody else is answered."""
    out = generate(server, {"return_concepts": True}, OTHER, max_new_tokens=12).json()
    trace = out["meta_info"]["soft_thinking"]["trace"]
    return out["text"], trace["ids"], [[round(w, 4) for w in row] for row in trace["weights"]]


@pytest.fixture(scope="module")
def before(server) -> tuple:
    return healthy(server)


def message(answer: requests.Response) -> str:
    """Also of the OpenAI endpoints, and of a stream."""
    text = answer.text
    if text.startswith("data: "):
        text = text.splitlines()[0].removeprefix("data: ")
    told = json.loads(text)
    if "meta_info" in told:  # the scheduler's word, in a stream
        return told["meta_info"]["finish_reason"]["message"]
    error = told.get("error", told)
    return error["message"] if isinstance(error, dict) else error


def test_the_table_has_every_name_once():
    names = [bad.name for bad in TABLE]
    assert len(TABLE) >= 100 and len(SOME) == 8
    assert [name for name in names if names.count(name) > 1] == []


@pytest.mark.parametrize("bad", TABLE, ids=lambda bad: bad.name)
def test_it_is_refused_by_name(server, good, before, bad: Bad):
    answer = post(server, body_of(bad, good))
    assert answer.status_code == bad.status, answer.text[:500]
    said = message(answer)
    missing = [word for word in bad.words if word not in said]
    assert not missing and len(said) < 2000, f"{missing} in {said[:2000]}"
    assert healthy(server) == before


SOME = [bad for bad in TABLE if bad.name.startswith((
    "weights[2] [nan]", "weights[2] [1e+30, -1e+30, 1.0]", "unknown handle", "tail_reason 'request'",
    "file: pickled objects", "cut beyond", "model.embedding_rms 9.0", "seed [[[[",
))]  # fmt: skip


def in_chat(server: str, bad: Bad, good: Good, stream: bool) -> requests.Response:
    body = json.loads(body_of(bad, good))
    asked = {
        "model": "default", "messages": QUESTION, "max_tokens": 8, "stream": stream,
        "custom_params": body["sampling_params"]["custom_params"],
    }  # fmt: skip
    return post(server, asked, "/v1/chat/completions")


@pytest.mark.parametrize("bad", SOME, ids=lambda bad: bad.name)
def test_so_do_the_chat_a_stream_and_a_batch(server, good, before, bad: Bad):
    plain = in_chat(server, bad, good, stream=False)
    assert plain.status_code == bad.status, plain.text[:500]
    streams = [in_chat(server, bad, good, stream=True)]
    body = json.loads(body_of(bad, good))
    streams.append(post(server, body | {"stream": True}))
    for answer in (plain, *streams):
        missing = [word for word in bad.words if word not in message(answer)]
        assert not missing, f"{missing} in {answer.text[:1000]}"
    fine = {"temperature": 0.6, "max_new_tokens": 8}
    batch = {"text": [OTHER, "", OTHER], "sampling_params": [fine, body["sampling_params"], fine]}
    together = post(server, batch)
    assert together.status_code == bad.status and bad.words[0] in message(together)
    assert healthy(server) == before


def changed(trace: dict, **changes) -> dict:
    return trace | changes


def with_step(trace: dict, ids: list, weights: list) -> dict:
    ids_, weights_ = list(trace["ids"]), list(trace["weights"])
    ids_[3], weights_[3] = ids, weights
    return trace | {"ids": ids_, "weights": weights_, "k": max(trace["k"], len(ids))}


def zero_offsets(trace: dict) -> dict:
    data = base64.b64decode(trace["embedding_offsets"]["data"])
    zeros = {"dtype": "float32", "data": base64.b64encode(bytes(len(data))).decode()}
    rows = [[] for _ in trace["ids"]]
    return trace | {"embedding_offsets": zeros, "ids": rows, "weights": rows}


def far(trace: dict) -> dict:
    data = np.frombuffer(base64.b64decode(trace["embedding_offsets"]["data"]), np.float32)
    offsets = np.where(np.arange(len(data)) % 2, 3e4, -3e4).astype(np.float32)
    data = base64.b64encode(offsets.tobytes()).decode()
    return trace | {"embedding_offsets": {"dtype": "float32", "data": data}}


ODD = {
    "a token twice": lambda g: {"trace": with_step(g.open, [20, 20, 21], [0.3, 0.3, 0.4])},
    "weights that cancel": lambda g: {"trace": with_step(g.open, [20, 21], [-63.0, 64.0])},
    "negative zero": lambda g: {"trace": with_step(g.open, [20, 21], [1.0, -0.0])},
    "a denormal weight": lambda g: {"trace": with_step(g.open, [20, 21], [1.0, 1e-40])},
    "32 slots": lambda g: {
        "trace": with_step(g.open, list(range(32)), [1 / 32] * 32) | {"params": {"max_topk": 32}},
        "max_topk": 3,
    },
    "nothing but zeros": lambda g: {"trace": zero_offsets(g.offsets)},
    "large offsets": lambda g: {"trace": far(g.offsets)},
    "offsets and another method": lambda g: {"trace": g.offsets, "method": "soft"},
    "a finer grid": lambda g: {"trace": g.grid, "weight_bits": 9},
    "a coarser grid": lambda g: {"trace": g.grid, "weight_bits": 2},
    "no grid": lambda g: {"trace": g.grid, "method": "average"},
    "a state of nonsense": lambda g: {
        "trace": g.swi | {"method_state": [1e30, -1e30, 3e38, 1e30, -1.0]}
    },
    "a count of nonsense": lambda g: {"trace": g.open | {"low_entropy_steps": 2**31 - 1}},
    "a state of another method": lambda g: {"trace": g.swi, "method": "moi"},
    "never": lambda g: {"trace": g.open, "thinking_start": "never"},
}


class More:
    """Good, and two more traces."""

    def __init__(self, server: str, good: Good) -> None:
        self.__dict__ |= good._asdict()
        soft = {"return_concepts": True}
        self.grid = made(generate(server, soft | {"weight_bits": 4}, OPEN))
        self.swi = made(generate(server, soft | {"method": "swireasoning", "swi_window": 2}, OPEN))


@pytest.fixture(scope="module")
def more(server, good) -> More:
    return More(server, good)


@pytest.mark.parametrize("at", ["next", "answer", "end"])
@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_but_sound_goes_on_and_comes_back_sound(server, more, before, name, at):
    """With log-probabilities of the fed thought; the trace of the answer is sent again."""
    soft = ODD[name](more) | {"at": at, "return_concepts": True}
    text = "No." if at == "end" else ""
    answer = generate(
        server, soft, text, max_new_tokens=6, return_logprob=True, logprob_start_len=5,
        top_logprobs_num=3,
    )  # fmt: skip
    assert answer.status_code == 200, answer.text[:500]
    info = answer.json()["meta_info"]
    trace = info["soft_thinking"]["trace"]
    fed = len(trace["prompt_ids"]) + info["soft_thinking"]["given"]["output_tokens"]
    assert len(info["input_token_logprobs"]) == fed - 5
    assert all(np.isfinite(entry[0]) for entry in info["output_token_logprobs"])
    assert made(generate(server, {"trace": trace, "at": "end", "return_concepts": True}, "So"))
    assert healthy(server) == before


def test_the_logits_of_a_trace_are_checked_alike(server, good, before):
    """`sglang-soft verify` asks for them; what it may ask is not less than what /generate feeds."""
    whole = good.open | {"tokenizer": good.open["tokenizer"]}
    cases = [
        (whole | {"params": whole["params"] | {"eos_ids": [2**40]}}, "eos_ids"),
        (whole | {"params": whole["params"] | {"eos_ids": list(range(9))}}, "eos_ids"),
        (whole | {"prompt_concepts": {"start": 1, "ids": [[5]], "weights": [[1.0]], "entropy": [0],
                                      "embedding_offsets": {"dtype": "float32",
                                                            "data": "AAAAAAAAAAA="}}}, "offsets"),
        (with_step(whole, [20, 21], [1e30, -1e30]), "weights[3]"),
        (with_step(whole, [20, 21], [65.0, -64.0]), "weights[3][0]"),
        (whole | {"tail_step": 1, "tail_reason": "request"}, "tail_reason"),
        (whole | {"output_ids": ["x" * 10**6, *whole["output_ids"][1:]]}, "output_ids"),
        (whole | {"ids": [[5]] * 10**6}, "ids has 1000000"),
        (whole | {"tokenizer": {"think_end_id": 5, "think_start_id": 0.5}}, "trace"),
        (whole | {"params": whole["params"] | {"more": [[[[[[1]]]]]]}}, "params"),
    ]  # fmt: skip
    for trace, word in cases:
        body = {"trace": trace, "first": 0, "stop": 4}
        answer = post(server, body, "/soft_thinking/logits")
        assert answer.status_code == 400 and word in message(answer), (word, answer.text[:500])
        assert healthy(server) == before
    asked = {"trace": whole, "first": 0, "stop": 4}
    assert post(server, asked, "/soft_thinking/logits").status_code == 200


@pytest.mark.parametrize("at", ["next", "answer"])
def test_a_forest_of_fields_next_to_a_trace(server, good, before, at):
    """n, penalties, a grammar, no new token, a stop string: each with a trace."""
    soft = {"trace": good.open, "at": at, "return_concepts": True}
    for sampling in (
        {"n": 3}, {"max_new_tokens": 0}, {"frequency_penalty": 1.5}, {"repetition_penalty": 1.2},
        {"presence_penalty": 1.0}, {"regex": "[0-9]+"}, {"stop": ["1"]}, {"min_new_tokens": 5},
        {"n": 2, "max_new_tokens": 0}, {"logit_bias": {"20": -100.0}}, {"ignore_eos": True},
        {"json_schema": '{"type": "object"}'}, {"n": 2, "regex": "4[0-9]*"},
    ):  # fmt: skip
        answer = generate(server, soft, **{"max_new_tokens": 30} | sampling)
        assert answer.status_code == 200, (sampling, answer.text[:500])
        outs = answer.json()
        for out in outs if isinstance(outs, list) else [outs]:
            trace = Trace.from_json(out["meta_info"]["soft_thinking"]["trace"])
            assert len(trace.steps) >= len(good.open["ids"]), sampling
            if "regex" in sampling and at == "answer":
                assert out["text"].strip("0123456789") == "", out["text"]
        assert healthy(server) == before


def test_more_samples_of_a_trace_of_another_model(server, good, before):
    """The request that fills the cache for them is the one that is refused."""
    trace = good.open | {"model": good.open["model"] | {"embedding_rms": 9.0}}
    answer = generate(server, {"trace": trace, "at": "answer"}, n=3)
    assert answer.status_code == 400 and "other weights" in message(answer)
    assert healthy(server) == before


def test_clients_that_leave(server, good, before):
    """In the middle of what they asked for, of which a trace was fed."""
    for at in ("next", "answer"):
        sampling = {"temperature": 0.6, "max_new_tokens": 300, "ignore_eos": True,
                    "custom_params": {"soft_thinking": {"trace": good.open, "at": at}}}  # fmt: skip
        for _ in range(3):
            with pytest.raises(requests.exceptions.ReadTimeout):
                requests.post(
                    f"{server}/generate", json={"text": "", "sampling_params": sampling},
                    timeout=0.2,
                )  # fmt: skip
    assert healthy(server) == before
