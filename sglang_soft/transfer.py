"""Concept tokens on their way from the device to the requests' histories, beside the forwards.

SGLang's route for such outputs (`sglang.srt.managers.auxiliary_output`): the copy is queued behind
the sampling, and `consume` runs when the sampled tokens have been committed to their requests and
before they are streamed.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from sglang_soft_kernels import StepRecord
from sglang_soft_kernels.layout import Step

from sglang_soft.history import pack
from sglang_soft.plan import ForwardPlan
from sglang_soft.step import ConceptStep

_ALONE: np.ndarray = np.ones((1, 1), np.float32)


class DeviceConcepts:
    """One step's record, and the vectors, [B, H], where a method of the batch feeds them."""

    def __init__(self, record: StepRecord, vector: torch.Tensor | None, plan: ForwardPlan) -> None:
        self._record = record
        self._vector = vector
        self._plan = plan

    @classmethod
    def of(cls, step: ConceptStep, plan: ForwardPlan) -> "DeviceConcepts":
        return cls(step.record, step.vector, plan)

    def copy_to_host(self, copy_tensor: Callable[[torch.Tensor], torch.Tensor]) -> "HostConcepts":
        vector = None if self._vector is None else copy_tensor(self._vector)
        record = self._record._replace(packed=copy_tensor(self._record.packed))
        return HostConcepts(record, vector, self._plan)


class HostConcepts:
    def __init__(self, record: StepRecord, vector: torch.Tensor | None, plan: ForwardPlan) -> None:
        self._record = record
        self._vector = vector
        self._plan = plan

    def consume(self, batch, commits: Sequence) -> None:
        """Append what became visible to the histories; a step whose token was discarded leaves no
        trace."""
        packed, K = self._record.packed.numpy(), self._record.K
        tail = packed[:, 2 * K :]
        entropy, states = tail[:, 0].view(np.float32), tail[:, 4:].view(np.float32)
        concepts = pack(packed[:, :K], packed[:, K : 2 * K].view(np.float32), entropy)
        columns = (x.tolist() for x in (tail[:, 1], tail[:, 2], entropy, states))
        rows = zip(self._plan.requests, commits, concepts, *columns, strict=True)
        for i, (request, commit, concept, kind, low, nats, state) in enumerate(rows):
            if request is None or commit is None:
                continue
            vector = b""
            if kind > Step.CONCEPT:  # think-end is fed as itself
                concept = pack(
                    np.array([[request.params.think_end_id]], np.int32), _ALONE, entropy[i : i + 1]
                )[0]
            elif kind == Step.CONCEPT and self._vector is not None and request.method.feeds_vector:
                vector = self._vector[i].view(torch.uint8).numpy().tobytes()
            request.commit(commit.token_ids[0], kind, concept, nats, low, state, vector)
