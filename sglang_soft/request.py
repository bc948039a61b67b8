"""Host-side state of one soft request, in the scheduler: phase, history, names of its KV, summary.

Device rows (`pool.py`) run ahead of it by the steps that are in flight; it is the truth that a
retracted request restarts from.
"""

from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sglang_soft_kernels.layout import Phase, Step

from sglang_soft import methods
from sglang_soft.history import Concept, ConceptLog, concept_key, private_key, unpack
from sglang_soft.methods.noise import sample_seed
from sglang_soft.wire import SoftParams

HOW_ENDED = {
    Step.THINK_END: "think_end", Step.COLD_STOP: "cold_stop", Step.BOUND: "bound", Step.METHOD: "method",
}  # fmt: skip


class SoftRequest:
    """State of one soft request."""

    def __init__(self, params: SoftParams) -> None:
        self.params = params
        self.method = methods.get(params.method)
        self.noise_seed = sample_seed(params.seed, params.sample)
        self.method_state: tuple[float, ...] = self.method.state
        """The method's state behind the last committed step."""
        self.phase = Phase.THINK if params.starts_thinking else Phase.WAIT
        self.first = 0 if params.starts_thinking else None
        """Output index of the first thinking step."""
        self.committed = 0
        """Output tokens that this state has seen; those of the answer, which change nothing in it,
        not all."""
        self.low = 0
        """Cold Stop's count of consecutive confident steps."""
        self.how_ended: str | None = None
        self.log = ConceptLog()
        """One record a thinking step, the step that emitted think-end included."""
        self.vectors: list[bytes] = []
        """Of a method that feeds vectors: one for each concept token, in the model's dtype."""
        self.named = 0
        """Output tokens that carry their final name in SGLang's fill ids."""
        self.replayed = {Phase.WAIT: 0, Phase.THINK: 0, Phase.ANSWER: 0}
        """How often the request was retracted and prefilled again, by the phase that it was in."""
        self.sent = 0
        """Records that were sent to the client's process."""
        self._entropy_sum = 0.0
        self._entropy_last: float | None = None

    @property
    def thinking_tokens(self) -> int:
        """Concept tokens emitted: think-end is not counted."""
        return len(self.log) - (self.how_ended is not None)

    @property
    def slots(self) -> int:
        """Slots that its concept tokens may use."""
        return self.params.max_topk + self.method.extra_slots

    def commit(
        self,
        token: int,
        step: int,
        record: bytes,
        entropy: float,
        low: int,
        state: Sequence[float] = (),
        vector: bytes = b"",
    ) -> None:
        """One output token became visible. What stands behind `step` counts for thinking steps
        only.

        state: [S] of this batch, of which the method's own part is kept. vector: [H] in the model's
        dtype.
        """
        self.committed += 1
        if step == Step.PLAIN:
            if self.phase == Phase.WAIT and token == self.params.think_start_id:
                self.phase, self.first = Phase.THINK, self.committed
            return
        assert self.phase == Phase.THINK, f"thinking step in phase {self.phase}"
        self.log.append(record)
        self.low = low
        self.method_state = tuple(state[: len(self.method.state)])
        if step == Step.CONCEPT and self.method.feeds_vector:
            self.vectors.append(vector)
        self._entropy_sum += entropy
        self._entropy_last = entropy
        if step != Step.CONCEPT:
            self.how_ended = HOW_ENDED[Step(step)]
            self.phase = Phase.ANSWER

    def count_replays(self, retractions: int) -> None:
        """Called at every prefill with SGLang's count of retractions so far."""
        self.replayed[self.phase] += retractions - sum(self.replayed.values())

    def named_by_concept(self, start: int, stop: int) -> range:
        """Output indices in [start, stop) whose input embedding is a mixture."""
        if self.first is None:
            return range(0)
        return range(max(start, self.first), min(stop, self.first + self.thinking_tokens))

    def name(self, fill_ids: array, prompt_len: int, rid: str) -> None:
        """Put concept keys in place of the readable ids of output tokens in `fill_ids` (prompt,
        then output).

        SGLang asks for names while the last step of a finished request is committed but not yet
        consumed. If that may be a concept token, it gets a name of its own, which nothing can
        match.
        """
        stop = len(fill_ids) - prompt_len
        outputs = self.named_by_concept(self.named, stop)
        for index, record in zip(outputs, self._records(outputs)):
            fill_ids[prompt_len + index] = concept_key(record, self._vector(index))
        if self.phase == Phase.THINK:
            for index in range(self.committed, stop):
                fill_ids[prompt_len + index] = private_key(rid, index)
        self.named = min(self.committed, stop)

    def concepts(self, outputs: range) -> Iterator[tuple[Concept, bytes]]:
        """Concept tokens, and their vectors, at a range of output indices from
        `named_by_concept`."""
        for index, record in zip(outputs, self._records(outputs)):
            yield unpack(record), self._vector(index)

    def _vector(self, output: int) -> bytes:
        """Vector of the concept token at an output index; empty where the method feeds none."""
        return self.vectors[output - (self.first or 0)] if self.method.feeds_vector else b""

    def _records(self, outputs: range) -> Iterator[bytes]:
        if not outputs:
            return iter(())
        assert self.first is not None
        return self.log.records(outputs.start - self.first, outputs.stop - self.first)

    def take_unsent(self) -> list[bytes]:
        """Records since the last call: what a stream sends next."""
        new = list(self.log.records(self.sent))
        self.sent = len(self.log)
        return new

    def summary(self, output_tokens: int, finish: dict[str, Any] | None) -> dict[str, Any]:
        """`meta_info.soft_thinking` of a finished request, concepts aside."""
        how = self.how_ended
        if how is None and self.first is not None:
            how = {"length": "length", "abort": "abort"}.get((finish or {}).get("type", ""), "stop")
        thinking = self.thinking_tokens
        before = 0 if self.first is None else self.first
        steps = len(self.log)
        seed = {"seed": self.noise_seed} if self.method.random else {}
        return {
            "method": self.params.method,
            **seed,
            "thinking_tokens": thinking,
            "answer_tokens": output_tokens - before - steps,
            "how_ended": how,
            "replays": {
                "thinking": self.replayed[Phase.THINK],
                "answering": self.replayed[Phase.ANSWER],
            },
            "mean_entropy": self._entropy_sum / steps if steps else None,
            "final_entropy": None
            if self._entropy_last is None
            else float(np.float32(self._entropy_last)),
        }
