"""Concept tokens on their way from the device to the requests' histories, beside the forwards.

SGLang's route for such outputs (`sglang.srt.managers.auxiliary_output`): the copy is queued behind the sampling, and
`consume` runs when the sampled tokens have been committed to their requests and before they are streamed.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from sglang_soft_kernels import StepRecord
from sglang_soft_kernels.layout import Step

from sglang_soft.plan import ForwardPlan
from sglang_soft.step import ConceptStep


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
        """Append what became visible to the histories; a step whose token was discarded leaves no trace."""
        record, width = self._record, self._record.K
        weights, entropy = record.weights.numpy(), record.entropy.numpy()
        entropies, kind, low = entropy.tolist(), record.kind.tolist(), record.low.tolist()
        used, states = (weights != 0).sum(1).tolist(), record.state.tolist()
        # 24-bit ids: the low three bytes of little-endian int32
        ids = np.ascontiguousarray(record.ids.numpy()).view(np.uint8).reshape(-1, width, 4)[:, :, :3].tobytes()
        bits, entropy_bits = weights.tobytes(), entropy.tobytes()
        for i, (request, commit) in enumerate(zip(self._plan.requests, commits, strict=True)):
            if request is None or commit is None:
                continue
            concept = vector = b""
            if kind[i] != Step.PLAIN:
                n, id_at, weight_at = used[i], 3 * width * i, 4 * width * i
                concept = (
                    bytes((n,))
                    + entropy_bits[4 * i : 4 * i + 4]
                    + ids[id_at : id_at + 3 * n]
                    + bits[weight_at : weight_at + 4 * n]
                )
                if self._vector is not None and request.method.feeds_vector:
                    vector = self._vector[i].view(torch.uint8).numpy().tobytes()
            request.commit(commit.token_ids[0], kind[i], concept, entropies[i], low[i], states[i], vector)
