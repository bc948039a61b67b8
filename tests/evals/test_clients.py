"""Other clients against our server with the toy model, by the commands of docs/evals.md.

Not in `make test`: lm-eval is installed into an environment of its own, from PyPI. `pytest -m
clients tests/evals`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sglang_soft_evals import cli

from sglang_soft.launch_server import BUNDLED_MODEL

pytestmark = [pytest.mark.engine, pytest.mark.clients]
LM_EVAL = "lm-eval[api]==0.4.13"
TASKS = Path(__file__).parents[2] / "evals" / "clients"
COLD_STOP = {"cold_stop_entropy": 0.2, "cold_stop_steps": 12}


@pytest.fixture(scope="module")
def lm_eval(tmp_path_factory) -> str:
    """The command, in an environment of its own."""
    folder = tmp_path_factory.mktemp("lm-eval") / "venv"
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    # By --python: `python -m uv` takes the environment of that python before $VIRTUAL_ENV.
    subprocess.run(
        [*uv, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), LM_EVAL],
        check=True,
    )
    return str(folder / "bin" / "lm_eval")


@pytest.fixture
def questions(tmp_path, capsys) -> Path:
    """`sglang-soft eval questions arith --count 40 > arith.jsonl`"""
    with pytest.raises(SystemExit):
        cli.main(["questions", "arith", "--count", "40"])
    file = tmp_path / "arith.jsonl"
    file.write_text(capsys.readouterr().out)
    assert len(file.read_text().splitlines()) == 40
    return file


def run_lm_eval(
    lm_eval: str, base_url: str, cwd: Path, soft: str
) -> subprocess.CompletedProcess[str]:
    command = [lm_eval, "run", "--model", "local-chat-completions", "--tasks", "sglang_soft_arith"]
    command += [
        "--model_args",
        f"base_url={base_url}/v1/chat/completions,model=default,num_concurrent=8,max_retries=1",
    ]
    command += ["--apply_chat_template", "--include_path", str(TASKS), "--output_path", "out"]
    command += [
        "--gen_kwargs",
        "temperature=0.6",
        "top_p=0.95",
        f"custom_params={{'soft_thinking': {soft}}}",
    ]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment["HF_HUB_OFFLINE"] = "1"
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600
    )


def test_lm_eval(server, lm_eval, questions):
    done = run_lm_eval(lm_eval, server, questions.parent, "{'max_topk': 10}")
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    (results,) = (questions.parent / "out").rglob("results*.json")
    scores = json.loads(results.read_text())["results"]["sglang_soft_arith"]
    assert scores["exact_match,none"] >= 0.8
    # That the parameters arrive shows in what the server refuses.
    refused = run_lm_eval(lm_eval, server, questions.parent, "{'max_topk': 99}")
    assert (
        "soft_thinking.max_topk is out of range (allowed: [1, 32]"
        in refused.stdout + refused.stderr
    )


def test_bench_serving(server, questions):
    tokens = {}
    for name, soft in (("discrete", False), ("soft", {"max_topk": 10}), ("cold stop", COLD_STOP)):
        extra = {"custom_params": {"soft_thinking": soft}, "top_k": 30}
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "sglang.bench_serving",
            "--backend",
            "sglang-oai-chat",
        ]
        command += [
            "--base-url",
            server,
            "--model",
            str(BUNDLED_MODEL),
            "--dataset-name",
            "openai",
        ]
        command += ["--dataset-path", str(questions), "--num-prompts", "40", "--disable-ignore-eos"]
        command += [
            "--temperature",
            "0.6",
            "--extra-request-body",
            json.dumps(extra),
            "--output-file",
            f"{name}.jsonl",
        ]
        done = subprocess.run(
            command, cwd=questions.parent, capture_output=True, text=True, timeout=600
        )
        print(done.stdout)
        assert done.returncode == 0, done.stderr
        result = json.loads((questions.parent / f"{name}.jsonl").read_text().splitlines()[-1])
        assert result["completed"] == 40
        tokens[name] = result[
            "total_output_tokens_retokenized"
        ]  # the other figure takes max_tokens for granted
    assert tokens["cold stop"] < 0.8 * tokens["soft"], tokens  # so the parameters arrived
