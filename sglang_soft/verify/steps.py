"""Each step of a trace, and what it should have been by the reference's logits."""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, Protocol

import torch
from sglang_soft_kernels.layout import StepKind

from sglang_soft import methods
from sglang_soft.trace import Trace
from sglang_soft.trace.check import check_model
from sglang_soft.verify.pieces import Piece, pieces, start
from sglang_soft.verify.report import NOISE, TOLERANCE, Report, Step

if TYPE_CHECKING:
    from sglang_soft.engine.inputs import StepInputs
    from sglang_soft.engine.step import StepOutput

TRIES = 64
"""Disturbed logits that are tried for a step that is off."""
_SAME = 1e-3
"""Weights whose logarithms are this close to the logits, in nats, are probabilities."""

Logits = Iterator[tuple[torch.Tensor, torch.Tensor | None]]
"""For each step its logits, [1, V] float32, and the last hidden state, [1, H] float32, or None."""


class Reference(Protocol):
    """A model that a trace is compared with."""

    name: str

    def load(self, trace: Trace) -> Mapping[str, Any]:
        """Its fingerprint, of `dtype`, `hidden_size` and `embedding_rms` at least, once it is known
        that it can read the trace. Raises ValueError: it is of another model."""
        ...

    def token_ids(self) -> Mapping[str, Collection[int]]:
        """Classes of its tokens by name."""
        ...

    def logits(self, trace: Trace, reads_hidden: bool) -> Logits:
        """Of all steps, read with the concept tokens of the trace."""
        ...


def verify(trace: Trace, reference: Reference, *, tolerance: float | None = None) -> Report:
    """Compare every step of a trace with what a reference says. Steps that were edited are read as
    they are, and not compared.

    Args:
        trace: a whole one, as `return_concepts` gives it. Penalties, biases, grammars and
            `min_new_tokens` change logits and are not part of a trace: steps that they changed
            deviate.
        reference: `HuggingFace` or `ServerReference`.
        tolerance: instead of TOLERANCE's.

    Raises:
        ValueError: the trace is broken, never thought, lacks what made it, or is of another model;
            names what.
        OSError: the reference cannot be read.
    """
    trace.validate()
    if trace.start is None or not len(trace.steps):
        raise ValueError("the trace has no thinking step.")
    parts = pieces(trace)
    if not any(part.request for part in parts):
        raise ValueError("the trace has no thinking step that a model made.")
    facts = reference.load(trace)
    check_model(trace, facts)
    made_in = trace.model.get("dtype", facts["dtype"])
    for dtype in (made_in, facts["dtype"]):
        if dtype not in TOLERANCE:
            raise ValueError(f"dtype must be one of {', '.join(TOLERANCE)}; got {dtype!r}.")
    limit = max(TOLERANCE[made_in], TOLERANCE[facts["dtype"]]) if tolerance is None else tolerance
    names = dict.fromkeys(part.request.method for part in parts if part.request)
    report = Report(", ".join(names), made_in, reference.name, facts["dtype"], limit)
    report.edited = sum(len(part.steps) for part in parts if part.request is None)
    with torch.inference_mode():
        noise = max(NOISE[made_in], NOISE[facts["dtype"]])
        report.steps.extend(_steps(trace, parts, reference, facts, noise, limit))
    return report


def _steps(
    trace: Trace, parts: Sequence[Piece], reference: Reference, facts: Mapping[str, Any],
    noise: float, limit: float,
) -> Iterator[Step]:  # fmt: skip
    """All steps that a model made. noise: of the logits, in nats; limit: what one may deviate."""
    from sglang_soft.engine.pool import ConceptPool

    pool = ConceptPool(
        2, 64, "cpu", hidden_size=facts["hidden_size"], embedding_rms=facts["embedding_rms"],
        token_ids=reference.token_ids(),
    )  # fmt: skip
    reads_hidden = any(
        methods.get(part.request.method).reads_hidden for part in parts if part.request
    )
    logits = reference.logits(trace, reads_hidden)
    for part in parts:
        own = islice(logits, len(part.steps))
        if part.request is None:
            deque(own, maxlen=0)  # passed over
        else:
            yield from _steps_of(part, start(pool, part), trace, own, noise, limit)


def _steps_of(
    part: Piece, inputs: "StepInputs", trace: Trace, logits: Logits, noise: float, limit: float
) -> Iterator[Step]:
    """Those of one request. logits: of its steps."""
    from sglang_soft.engine.step import concept_step
    from sglang_soft.engine.stopping import read_by

    assert trace.start is not None and part.request is not None
    first = trace.start - len(trace.prompt_ids)
    outputs = torch.from_numpy(trace.output_ids[first:].astype("int64"))
    exact = part.trace.params.get("weight_bits") is None
    temperature = part.request.thinking.temperature if exact else None
    for step, (row, hidden) in zip(part.steps, logits, strict=True):

        def computed(row: torch.Tensor, hidden=hidden, step=step) -> "tuple[StepOutput, Step]":
            output, read = concept_step(inputs, row, hidden), read_by(inputs, row)
            return output, _compared(trace, step, output, read, temperature)

        output, found = computed(row)
        if found.worst > limit:
            output, found = _rounded(computed, row, noise, limit) or (output, found)
        output.update_pool(outputs[step : step + 1])
        yield found


def _rounded(
    computed: "Callable[[torch.Tensor], tuple[StepOutput, Step]]", logits: torch.Tensor,
    noise: float, limit: float,
) -> "tuple[StepOutput, Step] | None":  # fmt: skip
    """The step by logits that rounding could have made, if any of them gives what the trace has: a
    draw, a threshold or the last token of a mean may fall the other way."""
    for seed in range(TRIES):
        draw = torch.Generator().manual_seed(seed)
        output, found = computed(logits + noise * torch.randn(logits.shape, generator=draw))
        if found.worst <= limit:
            return output, replace(found, decided=True)
    return None


def _compared(
    trace: Trace, step: int, output: "StepOutput", logits: torch.Tensor, temperature: float | None
) -> Step:
    """temperature: None: weights tell nothing about logits."""
    assert trace.start is not None
    token = int(trace.output_ids[trace.start - len(trace.prompt_ids) + step])
    record, concept = output.record, trace.concept(step)
    ours, theirs = _by_id(record.ids[0], record.weights[0]), _by_id(*concept[:2])
    if int(record.kind[0]) not in (StepKind.CONCEPT, StepKind.CLOSING):
        ours = {int(record.token[0]): 1.0}  # the last token of think-end is fed as itself
    apart = [abs(ours.get(i, 0.0) - theirs.get(i, 0.0)) for i in ours.keys() | theirs.keys()]
    gaps = [b - a for a, b in pairwise(sorted(ours.values()))]
    return Step(
        step, max(apart, default=0.0), abs(float(record.entropy[0]) - concept.entropy),
        None if temperature is None else _of_logits(ours, theirs, logits[0], temperature),
        token, int(record.token[0]), min(gaps, default=1.0),
    )  # fmt: skip


def _of_logits(
    ours: dict[int, float], theirs: dict[int, float], logits: torch.Tensor, temperature: float
) -> float | None:
    """`Step.logits`. logits: [V] of the reference."""
    ids = [i for i in ours if ours[i] > 0 and theirs.get(i, 0.0) > 0]
    if len(ids) < 2:
        return None
    of = logits[ids].double()

    def spread(weights: dict[int, float]) -> float:
        told = torch.tensor([weights[i] for i in ids], dtype=torch.float64).log() * temperature
        return float((told - of).max() - (told - of).min())

    return spread(theirs) if spread(ours) <= _SAME * temperature else None


def _by_id(ids: Any, weights: Any) -> dict[int, float]:
    """Weight of each token that has one."""
    found: dict[int, float] = {}
    for i, weight in zip(ids.tolist(), weights.tolist(), strict=True):
        if weight:
            found[i] = found.get(i, 0.0) + weight
    return found
