"""`sglang-soft verify`: is a trace what its model says? Step by step, against Hugging Face.

The reference model reads the prompt and then the trace's own concept tokens (teacher forcing), so
that rounding errors do not add up: each step is compared on its own, on any model, precision and
device. What a step should have fed is computed from the reference's logits by the same method.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from sglang_soft_kernels.layout import StepKind

from sglang_soft import methods
from sglang_soft.params import RequestParams, Sampling
from sglang_soft.trace import Trace

TOLERANCE = {"float32": 1e-3, "float16": 0.03, "bfloat16": 0.15}
"""Largest deviation of a weight, or of an entropy in nats, by the dtype that made the trace. Chosen
here: measured deviations in float32 are below 1e-4; one unit of 8 weight bits is 4e-3."""
CHUNK = 128
"""Steps that the reference computes at once: their logits are held in memory."""


@dataclass(frozen=True)
class Step:
    """One thinking step, compared."""

    step: int
    weights: float
    """Largest deviation of a token's weight."""
    entropy: float
    """Deviation of the entropy, in nats."""
    token: int
    """What the trace emitted."""
    reference_token: int
    """What the reference would emit; of a method that draws, with the same noise."""
    gap: float
    """Smallest difference of two neighbouring weights of the reference: with a small one, rounding
    may have decided the order."""


@dataclass
class Report:
    """Of a trace. `sound`: no step deviates by more than the tolerance."""

    method: str
    dtype: str
    tolerance: float
    steps: list[Step] = field(default_factory=list)

    @property
    def first_bad(self) -> Step | None:
        """The first step beyond the tolerance."""
        beyond = (s for s in self.steps if max(s.weights, s.entropy) > self.tolerance)
        return next(beyond, None)

    @property
    def sound(self) -> bool:
        return self.first_bad is None

    def to_json(self) -> dict[str, Any]:
        bad = self.first_bad
        return {
            "method": self.method,
            "dtype": self.dtype,
            "tolerance": self.tolerance,
            "steps": len(self.steps),
            "sound": self.sound,
            "first_bad_step": None if bad is None else vars(bad),
            "largest_deviation_of_weights": max((s.weights for s in self.steps), default=0.0),
            "largest_deviation_of_entropy": max((s.entropy for s in self.steps), default=0.0),
            "other_tokens": sum(s.token != s.reference_token for s in self.steps),
        }

    def __str__(self) -> str:
        facts, bad = self.to_json(), self.first_bad
        lines = [
            f"{facts['steps']} steps of method {self.method}, made in {self.dtype}",
            f"largest deviation: weights {facts['largest_deviation_of_weights']:.3g}, entropy "
            f"{facts['largest_deviation_of_entropy']:.3g} nats (tolerance {self.tolerance:g})",
        ]
        if bad is None:
            return "\n".join([*lines, "sound"])
        return "\n".join(
            [
                *lines,
                f"NOT sound: first at step {bad.step}: weights off by {bad.weights:.3g}, entropy "
                f"by {bad.entropy:.3g} nats; smallest gap between two weights there {bad.gap:.3g}",
            ]
        )


def verify(
    trace: Trace, model_path: str | Path, *, device: str = "cpu", dtype: str = "float32",
    tolerance: float | None = None,
) -> Report:  # fmt: skip
    """Compare every step of a trace with what a Hugging Face model says.

    Args:
        trace: a whole one, as `return_concepts` gives it. Penalties, biases, grammars and
            `min_new_tokens` change logits and are not part of a trace: steps that they changed
            deviate.
        model_path: the model's folder.
        device, dtype: of the reference.
        tolerance: instead of TOLERANCE's.

    Raises:
        ValueError: the trace is broken, never thought, lacks what made it, or is of another model;
            names what.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    trace.validate()
    if trace.start is None or not len(trace.steps):
        raise ValueError("the trace has no thinking step.")
    model = AutoModelForCausalLM.from_pretrained(model_path, dtype=getattr(torch, dtype))
    model = model.to(device).eval()
    _check_model(trace, model)
    tokenizer = AutoTokenizer.from_pretrained(model_path)
    made_in = trace.model.get("dtype", "float32")
    limit = TOLERANCE[made_in] if tolerance is None else tolerance
    report = Report(trace.method, made_in, limit)
    with torch.inference_mode():
        report.steps.extend(_steps(trace, model, tokenizer))
    return report


def _check_model(trace: Trace, model) -> None:
    table = model.get_input_embeddings().weight
    rms = float(table.double().square().mean().sqrt())
    found = {
        "vocab_size": model.config.vocab_size,
        "hidden_size": model.config.hidden_size,
        "layers": model.config.num_hidden_layers,
    }
    for name, ours in found.items():
        theirs = trace.model.get(name, ours)
        if ours != theirs:
            raise ValueError(
                f"the trace is of another model: its {name} is {theirs}, this one's is {ours}."
            )
    theirs = trace.model.get("embedding_rms", rms)
    if abs(theirs - rms) > 1e-3 * rms:
        raise ValueError(
            f"the trace is of a model with other weights: its embedding_rms is {theirs:.6g}, this "
            f"one's is {rms:.6g}."
        )


def _steps(trace: Trace, model, tokenizer):
    from sglang_soft.engine.inputs import prepare
    from sglang_soft.engine.pool import ConceptPool
    from sglang_soft.engine.request import SoftRequest
    from sglang_soft.engine.step import concept_step
    from sglang_soft.methods.token_classes import ids_by_name

    embedding = model.get_input_embeddings()
    table = embedding.weight
    request = SoftRequest(_request(trace), len(trace.prompt_ids))
    pool = ConceptPool(
        2, 64, "cpu", hidden_size=table.shape[1],
        embedding_rms=float(table.double().square().mean().sqrt()),
        token_ids=ids_by_name(tokenizer),
    )  # fmt: skip
    rows = torch.tensor([1])
    pool.start([1], [request])
    inputs = prepare(pool, rows, [request])
    reads_hidden = request.method.reads_hidden
    assert trace.start is not None
    outputs = trace.output_ids[trace.start - len(trace.prompt_ids) :]
    for step, (logits, hidden) in enumerate(_logits(trace, model, reads_hidden)):
        output = concept_step(inputs, logits, hidden)
        token = int(outputs[step])
        output.update_pool(torch.tensor([token]))
        record = output.record
        concept = trace.concept(step)
        ours, theirs = _by_id(record.ids[0], record.weights[0]), _by_id(*concept[:2])
        if int(record.kind[0]) not in (StepKind.CONCEPT, StepKind.CLOSING):
            ours = {int(record.token[0]): 1.0}  # the last token of think-end is fed as itself
        apart = [abs(ours.get(i, 0.0) - theirs.get(i, 0.0)) for i in ours.keys() | theirs.keys()]
        weights = sorted(ours.values())
        gaps = [b - a for a, b in pairwise(weights)]
        yield Step(
            step, max(apart, default=0.0), abs(float(record.entropy[0]) - concept.entropy), token,
            int(record.token[0]), min(gaps, default=1.0),
        )  # fmt: skip


def _request(trace: Trace) -> RequestParams:
    """The request that made the trace, thinking from its first step on."""
    params = dict(trace.params)
    if missing := [n for n in (*Sampling._fields, "max_new_tokens") if n not in params]:
        raise ValueError(f"the trace's params lack {', '.join(missing)}.")
    struct = methods.get(trace.method).Params
    own = {name: params[name] for name in struct.__struct_fields__ if name in params}
    sampling = Sampling(*(params[name] for name in Sampling._fields))
    found = (trace.tokenizer.get(f"think_{name}_id") for name in ("start", "end"))
    start, end = ((i,) if isinstance(i, int) else tuple(i or ()) for i in found)
    if not end:
        raise ValueError("the trace does not name its think-end (tokenizer.think_end_id).")
    return RequestParams(
        params=struct(**own), thinking=sampling, seed=trace.seed or 0,
        max_new_tokens=params["max_new_tokens"],
        think_start=start, think_end=end, starts_thinking=True,
    )  # fmt: skip


def _by_id(ids: Any, weights: Any) -> dict[int, float]:
    """Weight of each token that has one."""
    found: dict[int, float] = {}
    for i, weight in zip(ids.tolist(), weights.tolist(), strict=True):
        if weight:
            found[i] = found.get(i, 0.0) + weight
    return found


def _logits(trace: Trace, model, reads_hidden: bool):
    """For each step its logits, [1, V] float32, and the last hidden state, [1, H], or None."""
    fed = _inputs(trace, model)
    first = trace.start - 1 if trace.start else 0  # the position whose logits make step 0
    cache, position = None, 0
    stops = [first, *range(first + CHUNK, len(fed), CHUNK), len(fed)]
    for stop in dict.fromkeys(stops):
        part = fed[position:stop]
        if not len(part):
            continue
        keep = len(part) if position >= first else 1
        out = model(
            inputs_embeds=part[None], past_key_values=cache, use_cache=True, logits_to_keep=keep,
            output_hidden_states=reads_hidden,
        )  # fmt: skip
        cache = out.past_key_values
        if position >= first:
            hidden = out.hidden_states[-1][0].float().cpu() if reads_hidden else None
            for at, row in enumerate(out.logits[0].float().cpu()):
                yield row[None], None if hidden is None else hidden[at : at + 1]
        position = stop


def _inputs(trace: Trace, model) -> torch.Tensor:
    """[P, H]: the input embedding of each position up to the one that makes the last step."""
    embedding = model.get_input_embeddings()
    device, dtype = embedding.weight.device, embedding.weight.dtype
    assert trace.start is not None
    tokens = np.concatenate([trace.prompt_ids, trace.output_ids])
    last = trace.start + len(trace.steps) - 1
    ids = torch.from_numpy(tokens[:last].astype(np.int64)).to(device)
    fed = embedding(ids).float()
    positions = trace.concept_positions(0, last)
    if positions:
        steps = trace.step_slice(positions)
        chosen = torch.from_numpy(trace.steps.ids_of(steps).astype(np.int64)).to(device)
        weights = torch.from_numpy(trace.steps.weights_of(steps).copy()).to(device)
        mixed = (embedding(chosen).float() * weights[..., None]).sum(1)
        if trace.steps.offset_bytes:
            scale = float(getattr(embedding, "embed_scale", 1.0))
            offsets = [trace.concept(step).offset for step in range(steps.start, steps.stop)]
            mixed += torch.from_numpy(np.stack(offsets)).to(device) * scale
        fed[positions.start : positions.stop] = mixed
    return fed.to(dtype)


def read(file: str | Path) -> Trace:
    """A trace from npz (`Trace.save`), or from JSON: the trace itself, or an answer that has one.

    Raises:
        ValueError: there is none in it.
        OSError: it cannot be read.
    """
    if Path(file).suffix == ".npz":
        return Trace.load(file)
    try:
        found = orjson.loads(Path(file).read_bytes())
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{file} is neither npz nor JSON: {error}") from error
    for key in ("choices", "meta_info", "soft_thinking", "trace"):
        if isinstance(found, dict) and key in found:
            found = found[key]
        if isinstance(found, list) and found:
            found = found[0]
    if not isinstance(found, dict):
        raise ValueError(f"{file} holds no trace.")
    return Trace.from_json(found)


def main(argv: Sequence[str]) -> None:
    """Exit status: 0 sound, 1 not, 2 the trace cannot be compared with this model."""
    parser = argparse.ArgumentParser(prog="sglang-soft verify", description=__doc__.splitlines()[0])
    parser.add_argument("trace", help="npz or JSON")
    parser.add_argument("--model", required=True, help="folder of the Hugging Face model")
    parser.add_argument("--device", default="cpu", help="of the reference (%(default)s)")
    parser.add_argument(
        "--dtype", default="float32", choices=TOLERANCE, help="of the reference (%(default)s)"
    )
    parser.add_argument("--tolerance", type=float, help="largest deviation (default: by dtype)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    args = parser.parse_args(argv)
    try:
        report = verify(
            read(args.trace), args.model, device=args.device, dtype=args.dtype,
            tolerance=args.tolerance,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    print(orjson.dumps(report.to_json()).decode() if args.json else report)
    raise SystemExit(0 if report.sound else 1)
