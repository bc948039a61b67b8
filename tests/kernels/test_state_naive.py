"""A step's decisions and the rows' next state: the specification against plain Python."""

import pytest
import state_cases as cases
from sglang_soft_kernels.state import naive

finish_step, overwrite_tokens = naive.finish_step.naive, naive.overwrite_tokens.naive
update_pool = naive.update_pool.naive


@pytest.mark.parametrize("case", cases.CASES, ids=str)
def test_finish_step(case):
    cases.check_finish_step(finish_step, case, "cpu")


@pytest.mark.parametrize("case", cases.CASES, ids=str)
def test_index(case):
    cases.check_index(finish_step, overwrite_tokens, update_pool, case, "cpu")


@pytest.mark.parametrize("case", cases.CASES, ids=str)
def test_next_state(case):
    cases.check_next_state(finish_step, overwrite_tokens, update_pool, case, "cpu")


@pytest.mark.parametrize("case", cases.CASES, ids=str)
def test_methods_of_a_batch(case):
    cases.check_methods_of_a_batch(finish_step, case, "cpu")


@pytest.mark.parametrize("case", cases.CASES, ids=str)
def test_write_offsets(case):
    cases.check_write_offsets(finish_step, naive.write_offsets.naive, case, "cpu")
