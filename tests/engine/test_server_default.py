"""A server-wide default, for clients that cannot send parameters; here with SGLang's own `sglang
serve`."""

import os
import re
from pathlib import Path

import pytest
import requests

from sglang_soft.launch_server import BUNDLED_MODEL
from sglang_soft.server.process import Server
from tests.engine.test_server import PROMPT, QUESTION


def code_of_the_docs(page: str) -> str:
    text = (Path(__file__).parents[2] / "docs" / page).read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len([line for line in code.splitlines() if line.strip()]) <= 35
    return code


@pytest.mark.engine
def test_clients_that_send_nothing_get_soft_thinking(tmp_path):
    (tmp_path / "my_methods.py").write_text(code_of_the_docs("adding-a-method.md"))
    (tmp_path / "my_rules.py").write_text(code_of_the_docs("stopping.md"))
    # The command `sglang`, as a module.
    command = "from sglang.cli.main import main\n\nif __name__ == '__main__':\n    main()\n"
    (tmp_path / "sglang_command.py").write_text(command)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    env = {
        "SGLANG_SOFT_DEFAULT": '{"max_topk": 5, "return_concepts": true}',
        "SGLANG_SOFT_MAX_K": "8",
        "SGLANG_SOFT_MAX_VECTOR_MB": "0",
        "SGLANG_SOFT_METHODS": "my_methods",
        "SGLANG_SOFT_STOP_RULES": "my_rules",
        "PYTHONPATH": path,
    }
    args = ["serve", "--model-path", str(BUNDLED_MODEL), "--reasoning-parser", "deepseek-r1"]
    log = tmp_path / "log"
    with Server(args, env=env, log=log, entry="sglang_command") as server:
        base = server.url
        body = {"text": PROMPT, "sampling_params": {"temperature": 0.6, "max_new_tokens": 200}}
        soft = requests.post(f"{base}/generate", json=body, timeout=120).json()["meta_info"][
            "soft_thinking"
        ]
        assert soft["thinking_tokens"] > 10 and max(map(len, soft["trace"]["ids"])) == 5

        state = run_frontend_program(base)
        assert "1462" in state["answer"] and state["thinking"]
        info = state.get_meta_info("thinking")["soft_thinking"]
        assert info["thinking_tokens"] > 10 and info["thinking_finish_reason"] == "stop_token"

        check_our_backend(base)

        off = body | {
            "sampling_params": body["sampling_params"] | {"custom_params": {"soft_thinking": False}}
        }
        discrete = requests.post(f"{base}/generate", json=off, timeout=120).json()
        assert "soft_thinking" not in discrete["meta_info"]

        own = {"method": "tempered", "tempered_share": 0.3, "temperature": 1.0}
        body["sampling_params"]["custom_params"] = {"soft_thinking": own}
        soft = requests.post(f"{base}/generate", json=body, timeout=120).json()["meta_info"][
            "soft_thinking"
        ]
        several = [weights for weights in soft["trace"]["weights"] if len(weights) > 3]
        assert soft["method"] == "tempered" and several
        assert any(abs(w - 0.3) < 1e-6 for weights in several for w in weights), (
            "no share was capped"
        )

        check_our_rule(base, body)

        chat = {
            "model": "default",
            "messages": QUESTION,
            "custom_params": {"soft_thinking": {"max_topk": 9}},
        }
        refused = requests.post(f"{base}/v1/chat/completions", json=chat, timeout=120)
        assert refused.status_code == 400 and "[1, 8]" in refused.text

        chat["custom_params"]["soft_thinking"] = {"method": "coconut_tf"}
        refused = requests.post(f"{base}/v1/chat/completions", json=chat, timeout=120)
        assert refused.status_code == 400 and "soft-max-vector-mb" in refused.text


def check_our_rule(base: str, body: dict) -> None:
    """The rule of the docs: it ends a thought earlier than the model, and its count is a state."""
    body = body | {"sampling_params": body["sampling_params"] | {"custom_params": {
        "soft_thinking": {"stop": {"rule": "likely", "least": 1e-9, "times": 2}}}}}  # fmt: skip
    soft = requests.post(f"{base}/generate", json=body, timeout=120).json()["meta_info"][
        "soft_thinking"
    ]
    assert soft["thinking_finish_reason"] == "stop_rule"
    trace = soft["trace"]
    assert trace["params"]["stop"] == {"rule": "likely", "least": 1e-9, "times": 2}
    counts = [row[0] for row in trace["states"]]
    assert counts[-2:] == [1.0, 2.0] and all(count < 2 for count in counts[:-1])
    offered = requests.get(f"{base}/soft_thinking", timeout=30).json()["stop_rules"]
    assert offered[-1]["rule"] == "likely"


def check_our_backend(base: str) -> None:
    """On the backend of `sglang_soft.lang` a plain program is the same, and `False` is discrete."""
    import sglang as sgl

    from sglang_soft import lang

    backend = lang.RuntimeEndpoint(base)
    state = run_frontend_program(base, backend)
    assert "1462" in state["answer"]
    assert state.get_meta_info("thinking")["soft_thinking"]["thinking_tokens"] > 10

    @sgl.function
    def discrete(s):
        s += PROMPT + lang.gen("thinking", max_tokens=8, temperature=0.6, soft_thinking=False)

    assert "soft_thinking" not in discrete.run(backend=backend).get_meta_info("thinking")


def run_frontend_program(base: str, backend=None):
    """The state of a program in SGLang's frontend language, whose `gen` has no custom_params."""
    import sglang as sgl

    @sgl.function
    def multiply(s, prompt: str):
        s += prompt
        s += sgl.gen("thinking", max_tokens=200, temperature=0.6, stop="</think>")
        s += "</think>\n" + sgl.gen("answer", max_tokens=16, temperature=0.0)

    return multiply.run(PROMPT, backend=backend or sgl.RuntimeEndpoint(base))
