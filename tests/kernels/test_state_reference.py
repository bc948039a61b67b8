"""A step's decisions and the rows' next state: the reference against plain Python."""

import pytest
import state_cases as cases
from sglang_soft_kernels.state_reference import advance, decide, merge


@pytest.mark.parametrize("case", cases.CASES, ids=str)
def test_decide(case):
    cases.check_decide(decide, case, "cpu")


@pytest.mark.parametrize("case", cases.CASES, ids=str)
def test_next_state(case):
    cases.check_next_state(decide, merge, advance, case, "cpu")
