"""Where stop conditions act: in the answer, and in the thought only where a request says so."""

import pytest
import requests
from transformers import AutoTokenizer

from sglang_soft.launch_server import BUNDLED_MODEL

PROMPT = "<|im_start|>user\nWhat is 43*34?<|im_end|>\n<|im_start|>assistant\n<think>\n"
TOKENIZER = AutoTokenizer.from_pretrained(BUNDLED_MODEL)
EOS = TOKENIZER.eos_token_id


def ask(server: str, sampling: dict, **soft) -> dict:
    params = {"temperature": 0.6, "max_new_tokens": 200, "no_stop_trim": True}
    params |= {"custom_params": {"soft_thinking": {"answer_temperature": 0.0} | soft}} | sampling
    answer = requests.post(
        f"{server}/generate", json={"text": PROMPT, "sampling_params": params}, timeout=120
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def ending(out: dict) -> tuple[str, str]:
    info = out["meta_info"]
    return info["finish_reason"]["type"], info["soft_thinking"]["thinking_finish_reason"]


@pytest.fixture(scope="module")
def whole(server) -> str:
    """Without a stop condition. Thought and answer both contain 1462, a line end and a colon."""
    text = ask(server, {})["text"]
    thought, answer = text.split("</think>")
    assert "1462" in thought and "1462" in answer and ":" in thought and ":" in answer
    return text


(DIGIT,) = TOKENIZER.encode("6", add_special_tokens=False)
STOPS = [
    ({"stop": ["1462"]}, "stop_string"),
    ({"stop": [":"]}, "stop_string"),
    ({"stop_regex": ["An.w"]}, "stop_regex"),
    ({"stop_regex": ["x*:"]}, "stop_regex"),
    ({"stop_token_ids": [DIGIT]}, "stop_token_id"),
]


@pytest.mark.parametrize(("stop", "reason"), STOPS, ids=lambda s: str(s))
def test_a_stop_condition_acts_in_the_answer_unless_told(server, whole, stop, reason):
    out = ask(server, stop)
    assert ending(out) == ("stop", "stop_token"), "the thought was cut"
    thought, answer = out["text"].split("</think>")
    assert thought == whole.split("</think>")[0]
    assert answer and whole.split("</think>")[1].startswith(answer)
    (matched,) = next(iter(stop.values()))
    assert out["meta_info"]["finish_reason"]["matched"] == matched
    assert "match_from_end" not in out["meta_info"]["finish_reason"]
    if stop == {"stop": ["1462"]}:
        trimmed = ask(server, stop | {"no_stop_trim": False})["text"]
        assert trimmed == out["text"].removesuffix("1462")
    everywhere = ask(server, stop, thinking_stop="everywhere")
    if stop != {"stop_regex": ["An.w"]}:
        assert ending(everywhere) == ("stop", reason)
        assert "</think>" not in everywhere["text"]


def test_a_match_lies_wholly_in_the_answer(server, whole):
    straddling = whole[whole.index("</think>") - 3 :][:14]
    assert "</think>" in straddling[1:-1]
    assert ask(server, {"stop": [straddling]})["text"] == whole
    cut = ask(server, {"stop": [straddling]}, thinking_stop="everywhere")
    assert cut["text"].endswith(straddling) and cut["text"] != whole


def test_a_stream_is_not_held_back_by_what_could_begin_a_stop_string_of_the_answer(server):
    sampling = {"temperature": 0.6, "max_new_tokens": 20, "stop": ["no such text"],
                "custom_params": {"soft_thinking": True}}  # fmt: skip
    body = {"text": PROMPT, "stream": True, "sampling_params": sampling}
    with requests.post(f"{server}/generate", json=body, stream=True, timeout=120) as answer:
        chunks = [line for line in answer.iter_lines() if line.startswith(b"data: {")]
    assert len(chunks) >= 18


def test_end_of_sequence_in_a_thought_becomes_think_end(server):
    biased = {"logit_bias": {str(EOS): 1000.0}}
    out = ask(server, biased)
    assert ending(out) == ("stop", "eos")
    assert out["meta_info"]["soft_thinking"]["thinking_tokens"] == 0
    assert out["text"].startswith("</think>") and out["output_ids"][1] == EOS
    stopped = ask(server, biased, thinking_eos="stop")
    assert ending(stopped) == ("stop", "stop_eos") and stopped["output_ids"] == [EOS]
    ignored = ask(server, biased | {"ignore_eos": True, "max_new_tokens": 6})
    assert ending(ignored) == ("length", "length") and ignored["output_ids"] == [EOS] * 6


def test_min_new_tokens_keeps_a_thought_going(server):
    biased = {"logit_bias": {str(EOS): 1000.0}, "min_new_tokens": 4}
    out = ask(server, biased)
    assert ending(out)[1] == "eos" and out["meta_info"]["soft_thinking"]["thinking_tokens"] == 4


@pytest.mark.parametrize("bound", [1, 3])
def test_a_budget_of_the_answer_alone(server, whole, bound):
    out = ask(server, {}, max_answer_tokens=bound)
    assert ending(out) == ("length", "stop_token")
    assert out["meta_info"]["soft_thinking"]["answer_tokens"] == bound
    assert whole.startswith(out["text"])
    discrete = ask(server, {"max_new_tokens": 12}, max_answer_tokens=bound, thinking_start="never")
    assert discrete["meta_info"]["soft_thinking"]["answer_tokens"] == 12, "there was no think-end"
