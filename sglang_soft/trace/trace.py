"""`Trace`: what one request was fed and emitted, and where a continuation would start."""

import base64
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sglang_soft_kernels.layout import StepKind

from sglang_soft.trace import check, codec, cutting, files
from sglang_soft.trace.editing import Editor
from sglang_soft.trace.reasons import THINK_END_REASONS
from sglang_soft.trace.steps import Steps, StepsDelta, decode_offset


class Concept(NamedTuple):
    """One concept token: its input embedding is `sum_i weights[i] * E[ids[i]] + offset`."""

    ids: np.ndarray
    """[c] int32, c <= k: the candidates that carry weight"""
    weights: np.ndarray
    """[c] float32"""
    entropy: float
    """nats, over the whole vocabulary"""
    offset: np.ndarray | None
    """[H] float32; None: the method feeds none"""


class Stretch(NamedTuple):
    """Consecutive positions whose input embeddings are those of concept tokens."""

    positions: range
    steps: Steps
    rows: slice
    """Of `steps`, at these positions."""


@dataclass(kw_only=True)
class Trace:
    """What one request was fed and emitted, and the state in which a continuation would start."""

    method: str
    steps: Steps
    """One for each output token of the thought, the one that emitted think-end included."""
    start: int | None = None
    """Position of the first thinking step; None: nothing was thought so far."""
    prompt_ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    """[P] int32"""
    output_ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    """[N] int32"""
    thinking_finish_reason: str | None = None
    """One of FINISH_REASONS; None: it still thinks, or never thought."""
    low_entropy_steps: int = 0
    """Cold Stop's count after the last step."""
    method_state: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    """[S] float32: state of the method after the last step."""
    end_weights: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    """[k] float32: of a roll-out whose method draws weights, and drew the end of the thought (which
    is fed alone): the weights of the last step, one for each of its tokens in `drawn`."""
    delimiter_match: int = 0
    """Tokens of think-start (before the thought) or of think-end (in it) that the output ends
    with, where they are not complete."""
    tail_step: int = 0
    """Where a forced end stands: index of the next token of closing text and think-end; 0: none is
    under way."""
    tail_reason: str | None = None
    """Why that end was forced; one of THINK_END_REASONS."""
    params: dict[str, Any] = field(default_factory=dict)
    """Every parameter of the request, defaults filled in."""
    seed: int | None = None
    """Seed of the noise of a stochastic method."""
    retractions: dict[str, int] = field(default_factory=lambda: {"thinking": 0, "answering": 0})
    """How often SGLang retracted the request and prefilled it again, by phase."""
    model: dict[str, Any] = field(default_factory=dict)
    """Fingerprint of the model."""
    tokenizer: dict[str, Any] = field(default_factory=dict)
    """Fingerprint of the tokenizer, and the think tokens."""
    versions: dict[str, str] = field(default_factory=dict)
    segments: list[dict[str, Any]] = field(default_factory=list)
    """Where several requests made the thought: `step`, the first one, `method`, `params` and `seed`
    of each; where a step was edited, `step` and `edited`. Empty: one request made all of it, that
    of the fields of these names."""
    prompt_start: int | None = None
    """Position of the first concept token in the prompt; None: there is none."""
    prompt_steps: Steps | None = None
    """What the prompt has been fed from there on, up to the end of its last thought: thoughts of
    earlier requests, and each plain token between them as one id of weight 1."""

    @property
    def ended_by_think_end(self) -> bool:
        """The last step emitted think-end, which is fed as a plain token."""
        return self.thinking_finish_reason in THINK_END_REASONS.values()

    @property
    def thinking_tokens(self) -> int:
        """Number of concept tokens; think-end is not one."""
        return len(self.steps) - self.ended_by_think_end

    @property
    def ids(self) -> np.ndarray:
        return self.steps.ids

    @property
    def weights(self) -> np.ndarray:
        return self.steps.weights

    @property
    def entropy(self) -> np.ndarray:
        return self.steps.entropy

    @property
    def kinds(self) -> np.ndarray:
        """[N] uint8: the `StepKind` of each output token."""
        kinds: np.ndarray = np.zeros(len(self.output_ids), np.uint8)
        if self.start is not None:
            first = self.start - len(self.prompt_ids)
            kinds[first : first + len(self.steps)] = StepKind.CONCEPT
            for kind, reason in THINK_END_REASONS.items():
                if reason == self.thinking_finish_reason:
                    kinds[first + len(self.steps) - 1] = kind
        return kinds

    def concept_positions(self, start: int, stop: int) -> range:
        """Positions in [start, stop) whose input embedding is that of a concept token of the
        thought."""
        if self.start is None:
            return range(0)
        return range(max(start, self.start), min(stop, self.start + self.thinking_tokens))

    def fed(self, start: int, stop: int) -> list[Stretch]:
        """All positions in [start, stop) whose input embedding is that of a concept token: of the
        prompt's earlier thoughts, then of this one."""
        found = []
        if self.prompt_steps is not None and self.prompt_start is not None:
            last = self.prompt_start + len(self.prompt_steps)
            positions = range(max(start, self.prompt_start), min(stop, last))
            found.append(_stretch(positions, self.prompt_start, self.prompt_steps))
        if self.start is not None:
            found.append(_stretch(self.concept_positions(start, stop), self.start, self.steps))
        return [stretch for stretch in found if stretch.positions]

    def prompt_delta(self) -> StepsDelta | None:
        """`prompt_steps` as bytes."""
        steps = self.prompt_steps
        return None if steps is None else steps.delta(0, self.prompt_start)

    def concept(self, step: int) -> Concept:
        """One thinking step, unused slots left out."""
        at = range(len(self.steps))[step]
        (ids,), (weights,) = (
            of(slice(at, at + 1)) for of in (self.steps.ids_of, self.steps.weights_of)
        )
        size = int(np.count_nonzero(weights))
        offset = None
        if self.steps.offset_bytes:
            offset = decode_offset(self.steps.offsets[step], self.steps.offset_dtype)
        return Concept(ids[:size], weights[:size], float(self.entropy[step]), offset)

    def validate(self) -> None:
        """Raises ValueError that names the first field that is wrong, and how."""
        check.validate(self)

    def to_json(self) -> dict[str, Any]:
        """The whole trace as one object of plain values; float32 values come back bit for bit."""
        return codec.steps_to_json(self.steps.delta(0, self.start)) | codec.header(self)

    @classmethod
    def from_json(
        cls, chunks: Mapping[str, Any] | Iterable[Mapping[str, Any]], max_tokens: int | None = None
    ) -> "Trace":
        """Read `to_json`, or the `trace` objects of all chunks of a stream, in order. max_tokens:
        it may have no more tokens, nor steps.

        Raises:
            ValueError: something is missing or wrong; names it.
        """
        return codec.from_json(cls, chunks, max_tokens)

    def cut(self, steps: int) -> "Trace":
        """The trace as it was after that many of its steps: the thought is open, and what came
        later is gone. `retractions` are those of the whole.

        Raises:
            ValueError: there are not so many steps.
        """
        return cutting.cut(self, steps)

    @property
    def edit(self) -> Editor:
        """Edits of the trace: `remove`, `sharpen`, `replace`, `insert`, `cut`, `splice`. Each gives
        a new trace."""
        return Editor(self)

    def to_base64(self) -> str:
        """`save`, as text."""
        file = io.BytesIO()
        self.save(file)
        return base64.b64encode(file.getvalue()).decode()

    @classmethod
    def from_base64(
        cls, text: str, max_bytes: int | None = None, max_tokens: int | None = None
    ) -> "Trace":
        """Read `to_base64`. max_bytes: its columns may take no more. max_tokens: as `from_json`.

        Raises:
            ValueError: not such a text, or a wrong value in it.
        """
        try:
            data = base64.b64decode(text, validate=True)
        except ValueError as error:
            raise ValueError(f"not base64 ({error}); got {text[:40]!r}.") from None
        return files.load(cls, io.BytesIO(data), max_bytes, max_tokens)

    @classmethod
    def of(cls, delta: StepsDelta, head: Mapping[str, Any]) -> "Trace":
        """From the parts that the engine sends: steps, and what `codec.header` says."""
        return codec.joined(cls, delta, head)

    @property
    def nbytes(self) -> int:
        """Bytes that its arrays occupy."""
        arrays = (self.prompt_ids, self.output_ids, self.method_state)
        steps = [s.nbytes for s in (self.steps, self.prompt_steps) if s is not None]
        return sum(steps) + sum(array.nbytes for array in arrays)

    def copy(self, **changes: Any) -> "Trace":
        """With some fields changed; arrays are shared."""
        return replace(self, **changes)

    def save(self, file: str | Path | io.IOBase) -> None:
        """Write the trace as npz, which `load` reads."""
        files.save(self, file)

    @classmethod
    def load(cls, file: str | Path | io.IOBase) -> "Trace":
        """Read `save`. Raises ValueError: not such a file, or a wrong value in it."""
        return files.load(cls, file)


def _stretch(positions: range, start: int, steps: Steps) -> Stretch:
    return Stretch(positions, steps, slice(positions.start - start, positions.stop - start))
