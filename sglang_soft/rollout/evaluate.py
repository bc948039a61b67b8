"""Log-probabilities of traces by a Hugging Face model: one forward that is fed what the traces say.

Shapes: B traces, n thinking steps, m answer tokens, L longest input, V vocabulary, H hidden size.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sglang_soft.params import Sampling
from sglang_soft.rollout.formulas import Filter, of_draws
from sglang_soft.rollout.inputs import fed, vectors
from sglang_soft.rollout.steps import thought_log_probs
from sglang_soft.rollout.stopping import adjusted
from sglang_soft.trace import Trace
from sglang_soft.trace.check import check_model


class Evaluated(NamedTuple):
    """Log-probabilities of one trace, in nats; differentiable."""

    thought: Tensor
    """[n] float64: of each step, 0 where it was forced or drew nothing. The engine's are
    `trace.steps.extra["logprobs"]`."""
    answer: Tensor
    """[m] float64: of each token behind think-end, under the answer's temperature and filter."""


def evaluate(
    model: Any, traces: Sequence[Trace], *, table: Tensor | None = None
) -> list[Evaluated]:
    """Log-probabilities of traces under a model's weights, which need not be those that made them.

    Args:
        model: a causal language model of transformers; dropout off. Logits of all positions are
            held, [B, L, V].
        traces: whole ones, of requests with `return_rollout`.
        table: [V, H], the input embeddings of the weights that made the traces; by default the
            model's own, as they are. Only `soft_noise` needs it, and only if they have changed:
            what it fed is a vector.

    Raises:
        ValueError: a trace is no roll-out, is of another model, or of a method without a formula;
            names what.
    """
    for trace in traces:
        _check(trace, model)
    inputs = [fed(model, trace, table) for trace in traces]
    padded = torch.nn.utils.rnn.pad_sequence(inputs, batch_first=True)
    lengths = torch.tensor([len(x) for x in inputs], device=padded.device)
    mask = torch.arange(padded.shape[1], device=padded.device) < lengths[:, None]
    logits = model(inputs_embeds=padded, attention_mask=mask.long(), use_cache=False).logits
    return [_one(model, t, row, table) for t, row in zip(traces, logits, strict=True)]


def log_probs(model: Any, trace: Trace, *, table: Tensor | None = None) -> Tensor:
    """`Evaluated.thought` of one trace."""
    return evaluate(model, [trace], table=table)[0].thought


def answer_log_probs(model: Any, trace: Trace) -> Tensor:
    """`Evaluated.answer` of one trace."""
    return evaluate(model, [trace])[0].answer


def _one(model: Any, trace: Trace, logits: Tensor, table: Tensor | None) -> Evaluated:
    """logits: [L, V]; row i is of position i + 1."""
    assert trace.start is not None
    n, outputs = len(trace.steps), trace.output_ids[trace.start - len(trace.prompt_ids) :]
    rows = logits[trace.start - 1 : trace.start - 1 + len(outputs)]
    own = model.get_input_embeddings().weight
    were = vectors(model, trace, table) if trace.steps.offset_bytes else None
    thought = thought_log_probs(trace, adjusted(trace, rows[:n]), own, were)
    answer = torch.from_numpy(outputs[n:].astype("int64")).to(logits.device)
    keep = _answer_filter(trace, logits.shape[1])
    return Evaluated(thought, of_draws(rows[n:], answer[:, None], keep))


def _answer_filter(trace: Trace, vocabulary: int) -> Filter:
    values = {name: trace.params.get(f"answer_{name}") for name in Sampling._fields}
    if None in values.values():
        raise ValueError("the trace's params lack the sampling of the answer; it is no roll-out.")
    return Filter(**values, most=vocabulary)  # type: ignore[arg-type]


def _check(trace: Trace, model: Any) -> None:
    if "drawn" not in trace.steps.extra:
        raise ValueError("the trace is no roll-out: ask with return_rollout.")
    if trace.start is None:
        raise ValueError("the trace has no thinking step.")
    if len(getattr(trace, "segments", ())) > 1:
        raise ValueError("the trace's steps come from several requests; one at a time.")
    table = model.get_input_embeddings().weight
    check_model(trace, {"vocab_size": model.config.vocab_size, "hidden_size": table.shape[1]})
