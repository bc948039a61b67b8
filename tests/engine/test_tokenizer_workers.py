"""A server whose front end is several processes, and one that has not loaded the plugin."""

import json
import os
import subprocess
import sys

import pytest
import requests

from sglang_soft.launch_server import BUNDLED_MODEL
from sglang_soft.server.process import Server
from sglang_soft.trace import Trace
from tests.issue_table import row
from tests.releases import not_on_0_5_22

pytestmark = not_on_0_5_22("tokenizer workers load no plugins")
PROMPT = "<|im_start|>user\nWhat is 43*34?<|im_end|>\n<|im_start|>assistant\n<think>\n"
SOFT = {"answer_temperature": 0.0}


@pytest.fixture(scope="module")
def spawned(tmp_path_factory):
    """With two tokenizer workers, and a reasoning parser that SGLang finds out by itself."""
    args = ["--model-path", str(BUNDLED_MODEL), "--tokenizer-worker-num", "2", "--reasoning-parser",
            "auto", "--soft-view"]  # fmt: skip
    with Server(args, log=tmp_path_factory.mktemp("workers") / "log") as server:
        yield server


def generate(url: str, soft) -> requests.Response:
    sampling = {"temperature": 0.0, "max_new_tokens": 200, "custom_params": {"soft_thinking": soft}}
    body = {"text": PROMPT, "sampling_params": sampling}
    # A connection of its own each time, so that both workers are met.
    return requests.post(f"{url}/generate", json=body, timeout=120, headers={"connection": "close"})


@row(
    "A1",
    "--tokenizer-worker-num 2, /generate with soft_thinking",
    "the scheduler died, every client hung",
    "every worker validates; the answer has the summary",
)
def test_every_worker_validates_and_answers(spawned):
    for _ in range(12):
        info = generate(spawned.url, SOFT | {"temperature": 0.6}).json()["meta_info"]
        assert info["soft_thinking"]["thinking_finish_reason"] == "stop_token"
        refused = generate(spawned.url, {"max_topk": 0})
        assert refused.status_code == 400 and "max_topk" in refused.text
    told = requests.get(f"{spawned.url}/soft_thinking", timeout=60).json()
    assert told["server"]["unsupported"] is None


def test_every_worker_has_the_page(spawned):
    for _ in range(6):
        close = {"connection": "close"}
        page = requests.get(f"{spawned.url}/soft_thinking/view", timeout=60, headers=close)
        assert page.status_code == 200 and "<title>" in page.text
        texts = requests.post(
            f"{spawned.url}/soft_thinking/texts", json={"ids": [18]}, timeout=60, headers=close
        )
        assert len(texts.json()["texts"]) == 1


def test_what_one_worker_would_keep_the_others_do_not_have(spawned):
    """A trace as an object or as a file needs no memory, and works."""
    for _ in range(6):
        for soft in ({"keep": True}, {"trace": "trace-" + "0" * 32, "at": "answer"}):
            refused = generate(spawned.url, soft)
            assert refused.status_code == 400 and "--tokenizer-worker-num=2" in refused.text
    soft = SOFT | {"temperature": 0.6, "return_concepts": True}
    trace = generate(spawned.url, soft).json()["meta_info"]["soft_thinking"]["trace"]
    for form in (trace, Trace.from_json(trace).to_base64()):
        for _ in range(4):
            out = generate(spawned.url, SOFT | {"trace": form, "at": "answer"})
            assert out.status_code == 200, out.text
            assert out.json()["output_ids"] == trace["output_ids"][len(trace["ids"]) :]


OUTSIDE = """
import json, sys
from sglang.srt.entrypoints.engine import Engine
engine = Engine.attach_tokenizer_worker(int(sys.argv[1]))
answers = []
for soft in json.loads(sys.argv[2]):
    sampling = {"temperature": 0.0, "max_new_tokens": 8}
    if soft is not None:
        sampling["custom_params"] = {"soft_thinking": soft}
    try:
        answers.append(engine.generate(prompt="What?", sampling_params=sampling)["meta_info"])
    except Exception as error:
        answers.append(repr(error))
print("ANSWERS" + json.dumps([str(answer) for answer in answers]))
"""


@row(
    "A1",
    "a front end without the plugin sends soft_thinking to the scheduler",
    "the scheduler died",
    "that request ends with an error, others go on",
)
def test_a_front_end_without_the_plugin_gets_an_error_for_that_request_alone(spawned):
    values = [True, {"method": "soft"}, "nonsense", '{"params": {"method": "soft"}}', None]
    result = subprocess.run(
        [sys.executable, "-c", OUTSIDE, str(spawned.process.pid), json.dumps(values)],
        env=os.environ | {"SGLANG_PLUGINS": "sglang_soft_cpu"}, capture_output=True, text=True,
        timeout=240,
    )  # fmt: skip
    (line,) = [x for x in result.stdout.splitlines() if x.startswith("ANSWERS")] or [result.stderr]
    *soft, discrete = json.loads(line.removeprefix("ANSWERS"))
    for answer in soft:
        assert "front end" in answer, answer
    assert "'length'" in discrete, discrete
    assert generate(spawned.url, SOFT).status_code == 200, "the server did not live on"
