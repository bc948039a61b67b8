"""Concept tokens on their way from the device to the requests' histories, beside the forwards.

SGLang's route for such outputs (`sglang.srt.managers.auxiliary_output`): the copy is queued behind the sampling, and
`consume` runs when the sampled tokens have been committed to their requests and before they are streamed.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from sglang_soft.plan import ForwardPlan
from sglang_soft.request import Step
from sglang_soft.step import ConceptStep


class DeviceConcepts:
    """One step's outcome as a single [B, 2K + 3 + S] int32 tensor: ids, weights, entropy, kind, low, method state;
    and the vectors, [B, H], where a method of the batch feeds them."""

    def __init__(self, packed: torch.Tensor, vector: torch.Tensor | None, plan: ForwardPlan) -> None:
        self._packed = packed
        self._vector = vector
        self._plan = plan

    @classmethod
    def of(cls, step: ConceptStep, plan: ForwardPlan) -> "DeviceConcepts":
        bits = [step.ids, step.weights.view(torch.int32), step.entropy[:, None].view(torch.int32)]
        bits += [step.kind[:, None].int(), step.low[:, None].int()]
        if step.method_state is not None:
            bits.append(step.method_state.view(torch.int32))
        return cls(torch.cat(bits, 1), step.vector, plan)

    def copy_to_host(self, copy_tensor: Callable[[torch.Tensor], torch.Tensor]) -> "HostConcepts":
        vector = None if self._vector is None else copy_tensor(self._vector)
        return HostConcepts(copy_tensor(self._packed), vector, self._plan)


class HostConcepts:
    def __init__(self, packed: torch.Tensor, vector: torch.Tensor | None, plan: ForwardPlan) -> None:
        self._packed = packed
        self._vector = vector
        self._plan = plan

    def consume(self, batch, commits: Sequence) -> None:
        """Append what became visible to the histories; a step whose token was discarded leaves no trace."""
        width = self._plan.width
        packed = self._packed.numpy()
        weights = packed[:, width : 2 * width].view("<f4")
        entropy = packed[:, 2 * width].view("<f4")
        entropies = entropy.tolist()
        kind, low = packed[:, 2 * width + 1].tolist(), packed[:, 2 * width + 2].tolist()
        used = (weights != 0).sum(1).tolist()
        states = packed[:, 2 * width + 3 :].view("<f4").tolist()
        # 24-bit ids: the low three bytes of little-endian int32
        ids = np.ascontiguousarray(packed[:, :width]).view(np.uint8).reshape(len(packed), width, 4)[:, :, :3].tobytes()
        bits, entropy_bits = weights.tobytes(), entropy.tobytes()
        for i, (request, commit) in enumerate(zip(self._plan.requests, commits, strict=True)):
            if request is None or commit is None:
                continue
            record = vector = b""
            if kind[i] != Step.PLAIN:
                n, id_at, weight_at = used[i], 3 * width * i, 4 * width * i
                record = (
                    bytes((n,))
                    + entropy_bits[4 * i : 4 * i + 4]
                    + ids[id_at : id_at + 3 * n]
                    + bits[weight_at : weight_at + 4 * n]
                )
                if self._vector is not None and request.method.feeds_vector:
                    vector = self._vector[i].view(torch.uint8).numpy().tobytes()
            request.commit(commit.token_ids[0], kind[i], record, entropies[i], low[i], states[i], vector)
