"""A step's decisions and the rows' next state: the specification against plain Python."""

import pytest
import state_cases as cases
import state_checks as checks
from sglang_soft_kernels.state import naive

finish_step, overwrite_tokens = naive.finish_step.naive, naive.overwrite_tokens.naive
update_pool = naive.update_pool.naive


@pytest.mark.parametrize("case", cases.CASES, ids=str)
def test_finish_step(case):
    checks.check_finish_step(finish_step, case, "cpu")


@pytest.mark.parametrize("case", cases.CASES, ids=str)
def test_index(case):
    checks.check_index(finish_step, overwrite_tokens, update_pool, case, "cpu")


@pytest.mark.parametrize("case", cases.CASES, ids=str)
def test_next_state(case):
    checks.check_next_state(finish_step, overwrite_tokens, update_pool, case, "cpu")


@pytest.mark.parametrize("case", cases.CASES, ids=str)
def test_methods_of_a_batch(case):
    checks.check_methods_of_a_batch(finish_step, case, "cpu")


@pytest.mark.parametrize("case", cases.CASES, ids=str)
def test_write_offsets(case):
    checks.check_write_offsets(finish_step, naive.write_offsets.naive, case, "cpu")
