"""`sglang-soft verify` of every method on a pretrained model, whose thoughts amplify rounding errors.

In `make test`, some methods on such a model: test_deterministic.py.
"""

import pytest

from sglang_soft import methods
from sglang_soft.trace import Trace
from sglang_soft.verify import Report, verify
from sglang_soft.verify.reference_hf import HuggingFace
from tests.engine.cases import Case, sampling_params
from tests.engine.setups import Setup
from tests.engine.test_deterministic import QUESTIONS, THOUGHT, chat_prompt, pretrained
from tests.engine.test_verify import with_a_changed_weight
from tests.engine.under_test import EngineUnderTest

STEPS = 40
pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def reference() -> HuggingFace:
    return HuggingFace(pretrained())


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def engines(request, tmp_path_factory):
    args = {"dtype": request.param, "max_total_tokens": 4096}
    log = tmp_path_factory.mktemp("engine") / "log"
    running = EngineUnderTest(Setup("smollm2", args), pretrained(), log)
    yield running
    running.shutdown()


def traces(engine: EngineUnderTest, names: list[str]) -> dict[str, Trace]:
    cases = [
        Case(name, QUESTIONS[i % len(QUESTIONS)], THOUGHT | {"method": name}, STEPS, seed=i)
        for i, name in enumerate(names)
    ]
    prompts = [chat_prompt(engine, case) for case in cases]
    outs = engine.generate(prompts, [sampling_params(case) for case in cases])
    found = [Trace.from_json(out["meta_info"]["soft_thinking"]["trace"]) for out in outs]
    return {trace.method: trace for trace in found}


def figures(report: Report) -> str:
    facts = report.to_json()
    names = [f"largest_deviation_of_{what}" for what in ("weights", "entropy", "logits")]
    shown = (f"{facts[name]:.2g}" if facts[name] is not None else "-" for name in names)
    decided = facts["steps_decided_by_rounding"]
    return f"{report.dtype:9} {report.method:15} {len(report.steps)} {' '.join(shown)} {decided}"


def test_every_method(engines, reference):
    dtype = engines.setup.args["dtype"]
    found = traces(engines, list(methods.names()))
    reports = {name: verify(trace, reference) for name, trace in found.items()}
    print(*map(figures, reports.values()), sep="\n")
    assert set(reports) == set(methods.names())
    for name, report in reports.items():
        assert report.dtype == dtype and f"made in {dtype}" in str(report)
        assert len(report.steps) == STEPS
        assert report.sound, f"{name}: {report}"
    exact = verify(found["soft"], reference, tolerance=1e-3)
    assert exact.sound == (dtype == "float32"), exact

    if dtype == "float32":
        changed, step = with_a_changed_weight(found["soft"])
        report = verify(Trace.from_json(changed), reference)
        assert report.first_bad and report.first_bad.step == step, report
