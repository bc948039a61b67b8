"""`sglang-soft verify`: sound traces are found sound, and what is wrong in one is found and named.

References are Hugging Face models and a running server.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import requests

from sglang_soft import methods
from sglang_soft.client import Client
from sglang_soft.launch_server import BUNDLED_MODEL
from sglang_soft.trace import Trace
from sglang_soft.verify import command, verify
from sglang_soft.verify.reference_hf import HuggingFace
from sglang_soft.verify.reference_server import PATH, ServerReference
from tests.conftest import on
from tests.engine.asking import compare_all
from tests.engine.cases import by_name
from tests.engine.method_cases import METHOD_CASES
from tests.models import tiny

OF_METHODS = [case for case in METHOD_CASES if case.soft]
OTHERS = [by_name(name) for name in ("soft, chat", "soft, cold stop", "opens its own block")]
PROMPT = "<|im_start|>user\nWhat is 43*34?<|im_end|>\n<|im_start|>assistant\n<think>\n"


@pytest.fixture
def traces(engine) -> list[Trace]:
    outs = compare_all(engine, [*OF_METHODS, *OTHERS])
    found = [Trace.from_json(out["meta_info"]["soft_thinking"]["trace"]) for out in outs]
    assert {trace.method for trace in found} == set(methods.names())
    return found


def with_a_changed_weight(trace: Trace, first: int = 0) -> tuple[dict, int]:
    """One weight moved by 1/256, at a step from `first` on, and its step."""
    second = trace.weights[:, 1] if trace.steps.k > 1 else np.zeros(len(trace.steps))
    (steps,) = np.nonzero((second > 0) & (trace.weights[:, 0] > 0.1))
    steps = steps[steps >= first]
    step = int(steps[len(steps) // 2])
    changed = trace.to_json()
    changed["weights"][step][0] -= 1 / 256
    changed["weights"][step][1] += 1 / 256
    return changed, step


def status(*args: object) -> int | str | None:
    """Exit status of the command, in this process."""
    with pytest.raises(SystemExit) as ended:
        command.main([str(arg) for arg in args])
    return ended.value.code


@on("default", "retract", "gemma")
def test_what_an_engine_fed_is_sound(engine, traces):
    reference = HuggingFace(engine.path)
    for trace in traces:
        if trace.start is None:
            continue
        report = verify(trace, reference)
        assert report.sound and len(report.steps) == len(trace.steps), f"{trace.method}: {report}"
        assert report.to_json()["largest_deviation_of_weights"] < 1e-4
        if trace.method == "soft" and max(np.count_nonzero(trace.weights, axis=1)) > 1:
            assert report.to_json()["largest_deviation_of_logits"] < 0.01


@on("default")
def test_a_changed_weight_and_other_models_are_found(engine, traces, tmp_path, model_dir, capsys):
    trace = next(t for t in traces if t.method == "soft" and len(t.steps) > 20)
    changed, step = with_a_changed_weight(trace)
    report = verify(Trace.from_json(changed), HuggingFace(engine.path))
    assert not report.sound and report.first_bad and report.first_bad.step == step
    assert f"first at step {step}" in str(report) and "beyond the tolerance of 0.001" in str(report)
    assert report.first_bad.logits and report.first_bad.logits > 1 / 256

    file = tmp_path / "answer.json"
    file.write_text(json.dumps({"meta_info": {"soft_thinking": {"trace": changed}}}))
    words = [sys.executable, "-m", "sglang_soft.server.cli", "verify", str(file), "--model",
             str(engine.path), "--json"]  # fmt: skip
    found = subprocess.run(words, capture_output=True, text=True)
    assert found.returncode == 1, found.stderr
    figures = json.loads(found.stdout)
    assert figures["first_bad_step"]["step"] == step and figures["margin"] < 0
    assert len(figures["deviations"]["weights"]) == len(trace.steps)

    trace.save(tmp_path / "trace.npz")
    for words, said in [
        (["--model", tiny.build("llama", model_dir)], "the trace is of"),
        (["--model", engine.path, "--expect-dtype", "bfloat16"], "made in float32; expected bfl"),
        ([], "--model or --server"),
    ]:
        assert status(tmp_path / "trace.npz", *words) == 2
        assert said in capsys.readouterr().err
    file.write_text(json.dumps({"no": "trace"}))
    assert status(file, "--model", engine.path) == 2
    # A coarser reference: judged by its own tolerance, unless another one is given.
    rough = [tmp_path / "trace.npz", "--model", engine.path, "--dtype", "bfloat16"]
    capsys.readouterr()
    assert status(*rough) == 0
    assert "made in float32" in (text := capsys.readouterr().out) and "in bfloat16" in text
    assert status(*rough, "--tolerance", 1e-5) == 1


def of_several_requests(engine, traces: list[Trace]) -> dict[str, Trace]:
    """Thoughts that another request went on with, was edited in, or was asked to answer."""
    soft, swi = (next(t for t in traces if t.method == m and len(t.steps) > 20)
                 for m in ("soft", "swireasoning"))  # fmt: skip
    coconut = next(t for t in traces if t.method == "coconut_tf" and len(t.steps) > 20)
    ids = soft.concept(9).ids
    wanted: dict[str, tuple[Trace, str, dict]] = {
        "same": (soft.cut(9), "next", {}),
        "other": (soft.cut(9), "next", {"method": "soft_gumbel", "temperature": 0.9}),
        "offsets": (coconut.cut(7), "next", {"method": "soft", "weight_bits": 8}),
        "state": (swi.cut(11), "next", {}),
        "edited": (soft.edit.remove(9, int(ids[0])), "next", {}),
        "inserted": (soft.edit.insert(5, [40, 41], [0.5, 0.5]), "next", {"method": "cot"}),
        "answer": (swi.cut(6), "answer", {"closing_text": "So 43"}),
        "grid": (soft.edit.sharpen(4, 0.5), "next", {"weight_bits": 6}),
    }
    params = [
        {"temperature": 0.0, "ignore_eos": True, "max_new_tokens": 12, "sampling_seed": 3,
         "custom_params": {"soft_thinking": more | {"trace": trace, "at": at,
                                                    "return_concepts": True}}}
        for trace, at, more in wanted.values()
    ]  # fmt: skip
    prompts = [trace.prompt_ids.tolist() for trace, _, _ in wanted.values()]
    outs = engine.generate(prompts, params)
    return {
        name: Trace.from_json(out["meta_info"]["soft_thinking"]["trace"])
        for name, out in zip(wanted, outs, strict=True)
    }


@on("default")
def test_thoughts_of_several_requests_are_sound_but_for_what_was_edited(engine, traces):
    reference = HuggingFace(engine.path)
    several = of_several_requests(engine, traces)
    edited = {"edited": 1, "inserted": 1, "grid": 1}
    for name, trace in several.items():
        report = verify(trace, reference)
        assert report.sound, f"{name}: {report}"
        put = report.edited
        assert len(report.steps) + put == len(trace.steps)
        assert put == edited.get(name, put if name == "answer" else 0), name
        assert report.to_json()["largest_deviation_of_weights"] < 1e-4, name
    answer = verify(several["answer"], reference)
    assert len(answer.steps) == 6 and answer.edited > 1, "closing text and think-end"
    assert "further steps were edited" in str(answer)
    assert "soft, soft_gumbel" in str(verify(several["other"], reference))
    for name in ("other", "edited"):
        changed, step = with_a_changed_weight(several[name], first=10)
        report = verify(Trace.from_json(changed), reference)
        assert report.first_bad and report.first_bad.step == step >= 10
    # A piece that is judged as another request's is not sound.
    wrong = several["other"].copy(segments=[])
    assert not verify(wrong, reference).sound
    kept = traces[0].edit.replace(9, [40], keep_rest=True)
    report = verify(kept, reference)
    assert report.edited == 1 and report.first_bad and report.first_bad.step == 10


def generated(server: str, text: str = PROMPT, **soft) -> Trace:
    sampling = {"temperature": 0.8, "max_new_tokens": 24, "sampling_seed": 5,
                "custom_params": {"soft_thinking": {"return_concepts": True, **soft}}}  # fmt: skip
    body = {"text": text, "sampling_params": sampling}
    answer = requests.post(f"{server}/generate", json=body, timeout=120).json()
    return Trace.from_json(answer["meta_info"]["soft_thinking"]["trace"])


@pytest.mark.parametrize("method", methods.names())
def test_a_server_reads_the_traces_of_its_methods(server, method):
    trace = generated(server, method=method)
    report = verify(trace, ServerReference(Client(server)))
    assert report.sound and len(report.steps) == len(trace.steps), report
    assert report.to_json()["largest_deviation_of_weights"] < 1e-4


@pytest.mark.parametrize(
    "soft, reason",
    [({"method": "average"}, "eos"), ({"max_thinking_tokens": 9}, "max_thinking_tokens")],
)
def test_forced_ends_are_what_they_should_be(server, soft, reason):
    trace = generated(server, closing_text="So 43", **soft)
    assert trace.thinking_finish_reason == reason and len(trace.steps) >= 4
    report = verify(trace, ServerReference(Client(server)))
    assert report.sound and all(s.token == s.reference_token for s in report.steps), report


def test_a_server_is_asked_and_compared(server, tmp_path: Path, capsys):
    file, address = tmp_path / "trace.npz", ["--server", server]
    asked = ["--ask", "What is 43*34?", *address, "--max-tokens", 64, "--save", file]
    assert status(*asked, "--params", '{"temperature": 0.9}') == 0
    assert "sound: tolerance 0.001" in (text := capsys.readouterr().out) and server in text
    trace = Trace.load(file)
    assert trace.params["temperature"] == 0.9
    assert status(file, "--model", BUNDLED_MODEL) == 0

    changed, step = with_a_changed_weight(trace)
    (tmp_path / "changed.json").write_text(json.dumps(changed))
    assert status(tmp_path / "changed.json", *address) == 1
    assert f"NOT sound: first at step {step}:" in capsys.readouterr().out

    for key, value, said in [
        ("hidden_size", 8, "another model: its hidden_size is 8"),
        ("embedding_rms", 9.0, "other weights: its embedding_rms is 9"),
        ("dtype", "int8", "dtype must be one of"),
    ]:
        other = trace.to_json()
        other["model"] = other["model"] | {key: value}
        (tmp_path / "other.json").write_text(json.dumps(other))
        assert status(tmp_path / "other.json", *address) == 2
        assert said in capsys.readouterr().err
    assert status(file, *address, "--dtype", "bfloat16") == 2
    assert "runs in float32; expected bfloat16" in capsys.readouterr().err
    assert status(*asked, "--params", '{"max_topk": 0}') == 2
    assert "max_topk" in capsys.readouterr().err


def test_a_server_reads_thoughts_of_several_requests(server):
    """Over HTTP; earlier thoughts are in the prompt of the last one."""
    first = generated(server, method="coconut_tf")
    edited = first.edit.replace(6, [40, 41], [0.5, 0.5])
    second = generated(server, "", trace=edited.to_base64(), at="next", method="soft")
    third = generated(server, PROMPT, trace=second.to_base64(), at="end", thinking_start="now")
    assert [s["step"] for s in second.segments] == [0, 6, 7]
    assert third.prompt_steps is not None and third.start and third.start > len(second.output_ids)
    for trace, edits in ((second, 1), (third, 0)):
        for reference in (ServerReference(Client(server)), HuggingFace(BUNDLED_MODEL)):
            report = verify(trace, reference)
            assert report.sound and report.edited == edits, report
            assert len(report.steps) == len(trace.steps) - edits > 10
    without = third.copy(prompt_steps=None, prompt_start=None)
    assert not verify(without, HuggingFace(BUNDLED_MODEL)).sound, "they were fed"


def test_a_part_of_a_trace_that_a_server_cannot_read_is_refused(server):
    trace = generated(server, method="soft").to_json()
    steps = len(trace["ids"])
    for change, first, stop, said in [
        ({}, -1, 1, "first must be"),
        ({}, 0, steps + 1, "stop must be"),
        ({}, 2, 2, "first must be"),
        ({"params": {}}, 0, 1, "params lack"),
        ({"params": trace["params"] | {"max_topk": "many"}}, 0, 1, "max_topk"),
        ({"params": trace["params"] | {"max_topk": 60}}, 0, 1, "--soft-max-k"),
        ({"method": "other"}, 0, 1, "method must be one of"),
        (
            {"model": {}, "prompt_ids": [10**6, *trace["prompt_ids"][1:]]},
            0,
            1,
            "prompt_ids[0] must be",
        ),
        ({"method": "coconut_tf"}, 0, steps, "embedding offsets"),
    ]:
        body = {"trace": trace | change, "first": first, "stop": stop}
        answer = requests.post(f"{server}{PATH}", json=body, timeout=120)
        assert answer.status_code == 400 and said in answer.text, answer.text
    assert requests.post(f"{server}{PATH}", data=b"[]", timeout=120).status_code == 400
    body = {"trace": trace, "first": 0, "stop": steps}
    assert requests.post(f"{server}{PATH}", json=body, timeout=120).status_code == 200
