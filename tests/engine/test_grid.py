"""Weights on a grid (`weight_bits`): every method mixes whole multiples of 2^-b that sum to 1."""

from dataclasses import replace

import numpy as np

from sglang_soft.trace import Trace
from tests.conftest import on
from tests.engine.asking import compare_all
from tests.engine.method_cases import METHOD_CASES

BITS = (4, 6, 8, 1)
ON_GRID = [
    replace(case, name=f"{case.name}, {bits} bits", soft=case.soft | {"weight_bits": bits})
    for i, case in enumerate(METHOD_CASES)
    if case.soft is not None
    for bits in (BITS[i % len(BITS)],)
]


@on("default", "retract", "tp2")
def test_all_methods_equal_their_oracles(engine):
    outs = compare_all(engine, ON_GRID)
    mixed = set()
    for case, out in zip(ON_GRID, outs, strict=True):
        trace = Trace.from_json(out["meta_info"]["soft_thinking"]["trace"])
        units = trace.weights * 2 ** case.soft["weight_bits"]
        assert (units == np.rint(units)).all(), case.name
        sums = units.sum(1)
        assert set(sums.tolist()) <= {2.0 ** case.soft["weight_bits"], 0.0}, case.name
        if (np.count_nonzero(units, axis=1) > 1).any():
            mixed.add(trace.method)
    assert {"soft", "soft_gumbel", "soft_dirichlet", "moi", "swireasoning", "selar"} <= mixed
    if engine.setup.retracts:
        assert sum(out["meta_info"]["num_retractions"] for out in outs), "nothing was retracted"
