"""`sglang-soft verify`: sound traces are found sound, and what is wrong in one is found and named."""

import json
import subprocess
import sys

import numpy as np
import pytest

from sglang_soft import methods
from sglang_soft.trace import Trace
from sglang_soft.verify import verify
from tests.conftest import on
from tests.engine.asking import compare_all
from tests.engine.cases import by_name
from tests.engine.method_cases import METHOD_CASES
from tests.models import tiny

OF_METHODS = [case for case in METHOD_CASES if case.soft]
OTHERS = [by_name(name) for name in ("soft, chat", "soft, cold stop", "opens its own block")]


@pytest.fixture
def traces(engine) -> list[Trace]:
    outs = compare_all(engine, [*OF_METHODS, *OTHERS])
    found = [Trace.from_json(out["meta_info"]["soft_thinking"]["trace"]) for out in outs]
    assert {trace.method for trace in found} == set(methods.names())
    return found


@on("default", "retract", "gemma")
def test_what_an_engine_fed_is_sound(engine, traces):
    for trace in traces:
        if trace.start is None:
            continue
        report = verify(trace, engine.path)
        assert report.sound and len(report.steps) == len(trace.steps), f"{trace.method}: {report}"
        assert report.to_json()["largest_deviation_of_weights"] < 1e-4


@on("default")
def test_a_changed_weight_and_other_models_are_found(engine, traces, tmp_path, model_dir):
    trace = next(t for t in traces if t.method == "soft" and len(t.steps) > 20)
    (steps,) = np.nonzero(np.count_nonzero(trace.weights, axis=1) > 1)
    step = int(steps[steps > 4][0])
    changed = trace.to_json()
    changed["weights"][step][0] -= 1 / 256
    changed["weights"][step][1] += 1 / 256
    report = verify(Trace.from_json(changed), engine.path)
    assert not report.sound and report.first_bad and report.first_bad.step == step

    file = tmp_path / "answer.json"

    def command(content: dict, *args: str) -> subprocess.CompletedProcess:
        file.write_text(json.dumps(content))
        words = [sys.executable, "-m", "sglang_soft.server.cli", "verify", str(file), *args]
        return subprocess.run(words, capture_output=True, text=True)

    found = command({"meta_info": {"soft_thinking": {"trace": changed}}}, "--model",
                    str(engine.path), "--json")  # fmt: skip
    assert found.returncode == 1, found.stderr
    assert json.loads(found.stdout)["first_bad_step"]["step"] == step
    other = command(trace.to_json(), "--model", str(tiny.build("llama", model_dir)))
    assert other.returncode == 2 and "the trace is of" in other.stderr, other.stderr
    other = command({"no": "trace"}, "--model", str(engine.path))
    assert other.returncode == 2 and "error: " in other.stderr
