"""A whole request with Hugging Face transformers: prefill once, then one position a step, each fed as an
embedding."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch

from .steps import ThinkingStep, argmax, argmax_margin, think_end_step, thinking_step
from .trace import Trace


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a client asks for. The answer, and everything of a hard request, is decoded greedily."""

    think_start_id: int
    think_end_id: int
    method: Literal["soft", "hard"] = "soft"
    max_new_tokens: int = 64
    eos_ids: frozenset[int] = frozenset()
    """EOS and stop tokens; empty: ignore_eos."""

    # thinking (method soft); temperature 0: concept tokens are one-hot
    max_topk: int = 10
    temperature: float = 0.6
    top_k: int = 30
    top_p: float = 0.95
    min_p: float = 0.001
    cold_stop_threshold: float | None = None
    """Nats. None: no Cold Stop."""
    cold_stop_steps: int = 256
    max_thinking_tokens: int | None = None

    # logits
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repetition_penalty: float = 1.0
    min_new_tokens: int = 0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    penalty_history: Literal["output", "overlap"] = "output"
    """Which tokens the penalties count at output step i (SGLang 0.5.23,
    `ScheduleBatch.cumulate_penalty_output_tokens`): "output", overlap schedule off: the i tokens before it.
    "overlap": one behind, the last prompt token and the first i - 1 outputs (nothing at step 0)."""
    retracted_at: Sequence[int] = ()
    """Output steps that a re-prefill after a retraction computed. SGLang counts penalties anew from there."""

    def __post_init__(self):
        if self.method not in ("soft", "hard") or self.penalty_history not in ("output", "overlap"):
            raise ValueError(f"{self.method=} {self.penalty_history=}")
        if self.max_topk < 1 or self.temperature < 0 or self.max_new_tokens < 1:
            raise ValueError(f"{self.max_topk=} {self.temperature=} {self.max_new_tokens=}")


@torch.inference_mode()
def run(model, prompt_ids: Sequence[int], request: Request) -> Trace:
    """What `request` must produce after `prompt_ids`. The dtype is the model's: float32, or float64 to
    measure rounding."""
    fed = embed_tokens(model, prompt_ids)
    cache = None
    phase = first_phase(prompt_ids, request)
    output_ids: list[int] = []
    token_margins: list[float] = []
    steps: list[ThinkingStep] = []
    first_step, ended, finish, low = None, None, None, 0
    while finish is None:
        out = model(inputs_embeds=fed[None], past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache = out.past_key_values
        logits = adjust(out.logits[0, -1], prompt_ids, output_ids, request)
        token_margins.append(argmax_margin(logits))
        if phase == "thinking":
            step = thinking_step(
                logits,
                temperature=request.temperature,
                top_k=request.top_k,
                top_p=request.top_p,
                min_p=request.min_p,
                max_topk=request.max_topk,
            )
            low = count_low(step, low, request)
            ended = why_think_end(step, len(steps), low, request)
            if ended:
                step = think_end_step(step, request.think_end_id, None if ended == "think_end" else ended)
                phase = "answer"
            first_step = len(output_ids) if first_step is None else first_step
            steps.append(step)
            token = step.ids[0]
            fed = embed_mixture(model, step.ids, step.weights)
        else:
            token = argmax(logits)
            if phase == "before" and token == request.think_start_id:
                phase = "thinking"
            fed = embed_tokens(model, [token])
        output_ids.append(token)
        if token in request.eos_ids:
            finish = "stop"
        elif len(output_ids) >= request.max_new_tokens:
            finish = "length"
    if steps and not ended:
        ended = finish
    return Trace(
        output_ids=output_ids,
        steps=steps,
        first_step=first_step,
        ended=ended,
        finish=finish,
        token_margins=token_margins,
    )


def first_phase(prompt_ids: Sequence[int], request: Request) -> Literal["before", "thinking", "answer"]:
    """thinking: the prompt ends inside an open think block. A hard request has an answer only."""
    if request.method == "hard":
        return "answer"
    start, end = (
        max((i for i, t in enumerate(prompt_ids) if t == marker), default=-1)
        for marker in (request.think_start_id, request.think_end_id)
    )
    return "thinking" if start > end else "before"


def count_low(step: ThinkingStep, low: int, request: Request) -> int:
    """Cold Stop's counter: consecutive thinking steps, this one included, with an entropy below the
    threshold."""
    if request.cold_stop_threshold is None:
        return 0
    step.margins["entropy"] = abs(step.entropy - request.cold_stop_threshold)
    return low + 1 if step.entropy < request.cold_stop_threshold else 0


def why_think_end(step: ThinkingStep, emitted: int, low: int, request: Request) -> str | None:
    """Why this step emits think-end, or None. `emitted`: thinking tokens before this step."""
    if step.ids[0] == request.think_end_id:
        return "think_end"
    if request.cold_stop_threshold is not None and low >= request.cold_stop_steps:
        return "cold_stop"
    if request.max_thinking_tokens is not None and emitted >= request.max_thinking_tokens:
        return "bound"
    return None


def adjust(
    logits: torch.Tensor, prompt_ids: Sequence[int], output_ids: Sequence[int], request: Request
) -> torch.Tensor:
    """`logits` [V] after penalties and bias. SGLang's order under the overlap schedule: additive penalties, the
    repetition penalty, the bias. With that schedule off the order of the penalties is not defined (a set of classes,
    `SamplingBatchInfo.from_schedule_batch`)."""
    start = max((step for step in request.retracted_at if step <= len(output_ids)), default=0)
    history = list(output_ids[start:])
    if request.penalty_history == "overlap" and history:
        history = [output_ids[start - 1] if start else prompt_ids[-1], *history[:-1]]
    logits = logits.clone()
    for token, count in Counter(history).items():
        logits[token] -= request.frequency_penalty * count + request.presence_penalty
    if len(output_ids) < request.min_new_tokens:
        logits[list(request.eos_ids)] = -math.inf
    for token in set(history):
        value = logits[token]
        logits[token] = value * request.repetition_penalty if value < 0 else value / request.repetition_penalty
    for token, bias in request.logit_bias.items():
        logits[token] += bias
    return logits


def embed_tokens(model, ids: Sequence[int]) -> torch.Tensor:
    """[len(ids), hidden]: plain tokens, as the model itself embeds them."""
    return model.get_input_embeddings()(torch.tensor(ids))


def embed_mixture(model, ids: Sequence[int], weights: Sequence[float]) -> torch.Tensor:
    """[1, hidden]: sum of weights[k] * E[ids[k]], then the model's own scaling of embeddings, if it has one.

    In transformers 5 Gemma's scaling is inside its embedding module, and `inputs_embeds` are taken as scaled
    already.
    """
    module = model.get_input_embeddings()
    table = module.weight
    index = torch.tensor(ids)
    mixture = torch.tensor(weights, dtype=table.dtype) @ table[index]
    scale = getattr(module, "embed_scale", None)
    if scale is not None:
        mixture = mixture * scale.to(table.dtype)
        assert torch.equal(module(index), table[index] * scale.to(table.dtype)), (
            "the model embeds in a way unknown here"
        )
    else:
        assert torch.equal(module(index), table[index]), "the model embeds in a way unknown here"
    return mixture[None]
