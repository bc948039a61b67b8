"""Invariant 3: a trace is what the oracle says, whatever SGLang does to the request on the way."""

import pytest

from tests.conftest import on
from tests.engine.cases import CASES, expected, observed, prompt_ids, sampling_params
from tests.oracle import compare

MATRIX = ("default", "no-overlap", "chunked", "mixed-chunk", "retract", "retract-chunked-no-overlap",
          "retract-no-radix", "tp2", "llama", "qwen2", "gemma", "moe")  # fmt: skip


@on(*MATRIX)
def test_mixed_batch_equals_the_oracle(engine):
    """Soft, cold stop, greedy, bound and hard requests together; every one as if it were alone."""
    engine.flush()
    outs = engine.generate([prompt_ids(engine, c) for c in CASES], [sampling_params(c) for c in CASES])
    problems = []
    for case, out in zip(CASES, outs):
        try:
            compare(observed(out), expected(engine, case))
        except AssertionError as error:
            problems.append(f"{case.name}: {error}")
    assert not problems, "\n".join(problems)
    _assert_paths_taken(engine, outs)


def _assert_paths_taken(engine, outs: list[dict]) -> None:
    ended = {out["meta_info"]["soft_thinking"]["how_ended"] for out in outs if "soft_thinking" in out["meta_info"]}
    assert {"cold_stop", "bound", "length", None} <= ended
    if engine.setup.retracts:
        replays = [o["meta_info"]["soft_thinking"]["replays"] for o in outs if "soft_thinking" in o["meta_info"]]
        assert sum(r["thinking"] for r in replays) > 0, "no soft request was retracted while thinking"
        assert sum(r["answering"] for r in replays) > 0, "no soft request was retracted while answering"


@on("default", "retract")
@pytest.mark.parametrize("case", [c for c in CASES if c.soft is not None][:3], ids=lambda c: c.name)
def test_alone(engine, case):
    (out,) = engine.generate([prompt_ids(engine, case)], [sampling_params(case)])
    compare(observed(out), expected(engine, case))
