"""A step that rounding could have decided is sound where it says so, and no other is."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from sglang_soft_kernels.layout import StepKind

from sglang_soft.params import Sampling
from sglang_soft.trace import Trace
from sglang_soft.verify import verify
from tests.unit.soft_request import PROMPT, soft_request

LOGITS = torch.tensor([[0.0, 2.0, 2.01, 1.0, -1.0, 0.5, 0.0, 0.0, 0.0, 0.0]])
"""Tokens 1 and 2 are nearly as probable; 2 is more so."""
ENTROPY = float(torch.distributions.Categorical(logits=LOGITS[0]).entropy())
BEST_ONLY = Sampling(temperature=1.0, top_p=1.0, top_k=1, min_p=0.0)
STEPS = 3


class Known:
    """A reference whose logits are known."""

    name = "known logits"

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype

    def load(self, trace: Trace) -> dict:
        return {"dtype": self.dtype, "hidden_size": 4, "embedding_rms": 1.0, "vocab_size": 10}

    def token_ids(self) -> dict:
        return {}

    def logits(self, trace: Trace, reads_hidden: bool) -> Iterator[tuple[torch.Tensor, None]]:
        for _ in range(STEPS):
            yield LOGITS, None


def trace_of(tokens: list[int]) -> Trace:
    """A thought of these tokens, each the most probable one."""
    request = soft_request("cot", thinking=BEST_ONLY)
    for token in tokens:
        ids, weights = np.array([token], np.int32), np.ones(1, np.float32)
        state = np.zeros(0, np.float32)
        request.commit(token, StepKind.CONCEPT, ids, weights, ENTROPY, 0, state, b"")
    request.finish([9] * PROMPT, tokens, "length")
    request.trace.tokenizer = {"think_start_id": 7, "think_end_id": 8}
    return request.trace


@pytest.mark.parametrize(
    ("tokens", "dtype", "decided", "first_bad"),
    [
        ([2, 2, 2], "float32", 0, None),
        ([2, 1, 2], "float32", 0, 1),
        ([2, 1, 2], "bfloat16", 1, None),
        ([2, 2, 4], "bfloat16", 0, 2),
    ],
)
def test_a_choice_between_near_ties(tokens, dtype, decided, first_bad):
    report = verify(trace_of(tokens), Known(dtype))
    assert report.to_json()["steps_decided_by_rounding"] == decided
    assert (report.first_bad and report.first_bad.step) == first_bad
    assert report.sound == (first_bad is None)


def test_an_edited_step_is_passed_over():
    """Whatever it is; what follows is judged, and so is a trace that does not say so."""
    trace = trace_of([2, 2, 2]).edit.replace(1, [4], keep_rest=True)
    report = verify(trace, Known("float32"))
    assert report.sound and report.edited == 1 and [s.step for s in report.steps] == [0, 2]
    report = verify(trace.copy(segments=[]), Known("float32"))
    assert report.first_bad and report.first_bad.step == 1
    wrong = trace_of([2, 2, 4]).edit.replace(1, [4], keep_rest=True)
    report = verify(wrong, Known("float32"))
    assert report.first_bad and report.first_bad.step == 2
    with pytest.raises(ValueError, match="no thinking step that a model made"):
        verify(trace_of([2, 2, 2]).edit.replace(0, [4]), Known("float32"))
