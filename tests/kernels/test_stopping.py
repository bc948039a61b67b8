"""Facts of logits: the specification and the compiled loop."""

import pytest
import stopping_cases as cases
import torch
from sglang_soft_kernels import logit_facts
from sglang_soft_kernels.stopping import cpu

IMPLEMENTATIONS = {"naive": logit_facts.naive, "cpu": cpu.logit_facts}


@pytest.mark.parametrize("size", cases.SIZES)
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_facts(name, size):
    cases.check_facts(IMPLEMENTATIONS[name], *size, "cpu")


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_facts_of_half_precision(name):
    cases.check_facts(IMPLEMENTATIONS[name], 3, 1000, "cpu", torch.bfloat16)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_a_row_does_not_depend_on_the_others(name):
    cases.check_a_row_alone(IMPLEMENTATIONS[name], "cpu")


def test_a_think_end_outside_the_vocabulary_is_an_error():
    inputs = cases.make(3, 1000, "cpu")
    inputs["delimiters"][:] = 1000
    with pytest.raises(IndexError):
        cpu.logit_facts(*inputs.values())
