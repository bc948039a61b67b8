"""The GPU scripts as a machine without a GPU can check them: the dry run, the judgement of results,
the report."""

import os
import subprocess
import sys

import gpu_check
import gpu_plan
import measuring
import orjson
import pytest
from shapes import SHAPES

LAUNCH = measuring.ROOT / "launch"
STAND_IN = """
import os, time

class Engine:
    _scheduler_init_result = type("", (), {"scheduler_infos": [{"max_total_num_tokens": 9999}]})

    def __init__(self, *, model_path, **kwargs):
        if os.environ.get("BROKEN"):
            raise RuntimeError("no such device")
        print("a library says hello")

    def generate(self, input_ids, sampling_params):
        tokens, soft = sampling_params["max_new_tokens"], "custom_params" in sampling_params
        assert os.environ["SGLANG_PLUGINS"] == "" or not soft, "a soft request without the plugin"
        assert all(ids[-1] == int(os.environ["SGLANG_SOFT_THINK_START"]) for ids in input_ids)
        time.sleep(0.001 * tokens)
        info = {"completion_tokens": tokens} | ({"soft_thinking": {"thinking_tokens": tokens}} if soft else {})
        return [{"meta_info": info} for _ in input_ids]

    def shutdown(self):
        pass
"""


@pytest.mark.parametrize("script", ["bench_gpu.py", "gpu_check.py"])
def test_dry_run(script):
    command = [sys.executable, str(LAUNCH / script), "--dry-run"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert ("bench_kernels.py" if script == "gpu_check.py" else "--load-format=dummy") in shown


def bench_gpu(folder, **env) -> subprocess.CompletedProcess:
    (folder / "sglang.py").write_text(STAND_IN)
    models = ["--model", "bundled", "--model", "qwen3-8b"]
    command = [sys.executable, str(LAUNCH / "bench_gpu.py"), *models, "--device", "cpu", "--small"]
    env = os.environ | {"PYTHONPATH": str(folder)} | env
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=env)


def test_bench_gpu_with_a_stand_in_for_the_engine(tmp_path):
    """Everything but SGLang: requests, turns, the engine's process, the tables."""
    done = bench_gpu(tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [
        line.split("|") for line in done.stdout.splitlines() if line.startswith(("| 1 |", "| 3 |"))
    ]
    assert len(rows) == 4
    for row in rows:
        for cell in row[2:7]:  # figures of a busy machine: any number will do
            float(cell.split()[0])


def test_an_engine_that_does_not_start_shows_its_log(tmp_path):
    done = bench_gpu(tmp_path, BROKEN="1")
    assert (
        done.returncode == 1 and "no such device" in done.stderr and "exit status 1" in done.stderr
    )


def test_shapes_have_the_size_of_their_models(tmp_path):
    billions = {name: shape.weight_gib * 2**30 / 2 / 1e9 for name, shape in SHAPES.items()}
    assert billions == {
        "qwen3-8b": pytest.approx(8.19, abs=0.01),
        "qwq-32b": pytest.approx(32.76, abs=0.01),
    }
    config = orjson.loads((SHAPES["qwq-32b"].write(tmp_path) / "config.json").read_bytes())
    assert config["architectures"] == ["Qwen2ForCausalLM"] and "name" not in config


@pytest.mark.parametrize(
    ("mib", "model", "batches", "together"),
    [(143_771, "qwq-32b", [1, 8, 64, 256], False), (143_771, "qwen3-8b", [1, 8, 64, 256], True),
     (81_559, "qwq-32b", [1, 8, 64], False), (24_000, "qwq-32b", [], False)],
)  # fmt: skip
def test_plan_leaves_out_what_does_not_fit(monkeypatch, mib, model, batches, together):
    monkeypatch.setattr(gpu_plan, "gpus", lambda: [("a GPU", mib, "1")])
    plan = gpu_plan.make_plan(model, [1, 8, 64, 256], 256, "cuda")
    assert (plan.batches, plan.together) == (batches, together)
    assert sorted(plan.batches + plan.left_out) == [1, 8, 64, 256]


def test_turns_and_ratios():
    calls = []
    runs = {name: lambda name=name: calls.append(name) or float(len(calls)) for name in "abc"}
    measured = measuring.take_turns(runs, rounds=3)
    assert "".join(calls) == "abc" + "abc" + "bca" + "cab"
    assert measured["a"] == [4.0, 9.0, 11.0]
    assert measuring.paired_ratio([2.0, 4.0, 9.0], [1.0, 2.0, 3.0]).median == 2.0


def test_sections_are_replaced(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("head\n<!-- gpu: begin -->\nold\n<!-- gpu: end -->\ntail\n")
    measuring.write_section(page, "gpu", "new")
    assert page.read_text() == "head\n<!-- gpu: begin -->\nnew\n<!-- gpu: end -->\ntail\n"
    with pytest.raises(ValueError, match="no section"):
        measuring.write_section(page, "cpu", "new")


def test_the_gpu_section_of_benchmarks_exists():
    text = (measuring.ROOT / "BENCHMARKS.md").read_text()
    assert text.count("<!-- gpu: begin -->") == text.count("<!-- gpu: end -->") == 1


def test_skipped_tests_are_no_pass():
    assert gpu_check.untested(["40 passed, 300 deselected in 9.1s"]) == ""
    assert "3 tests were skipped" in gpu_check.untested(["40 passed, 3 skipped in 9.1s"])
    assert "no test passed" in gpu_check.untested(
        ["9 skipped in 1s"]
    ) and "no test passed" in gpu_check.untested([])


def test_report_names_what_failed():
    checks = [
        gpu_check.Outcome(check, problem, 1.0, ["out"])
        for check, problem in zip(gpu_check.CHECKS, ("", "exit status 1", ""))
    ]
    page = gpu_check.report(checks, "a machine")
    assert (
        "| kernels | exit status 1 |" in page
        and page.count("| passed |") == 2
        and "a machine" in page
    )
