"""A whole request with Hugging Face transformers: prefill once, then one position a step, each fed
as an embedding."""

import math
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Literal

import torch

from .embed import LastHidden, embed_mixture, embed_tokens
from .request import Request
from .steps import ThinkingStep, argmax, argmax_margin, think_end_step
from .thinking import Thinking
from .trace import Trace


@torch.inference_mode()
def run(model, prompt_ids: Sequence[int], request: Request) -> Trace:
    """What `request` must produce after `prompt_ids`. The dtype is the model's: float32, or float64
    to measure rounding."""
    with ExitStack() as stack:
        hidden = stack.enter_context(LastHidden(model)) if request.method == "coconut_tf" else None
        return _generate(model, prompt_ids, request, hidden)


def _generate(
    model, prompt_ids: Sequence[int], request: Request, hidden: LastHidden | None
) -> Trace:
    fed = embed_tokens(model, prompt_ids)
    cache = None
    phase = first_phase(prompt_ids, request)
    thinking = Thinking(request, model)
    output_ids: list[int] = []
    token_margins: list[float] = []
    steps: list[ThinkingStep] = []
    inputs: list[torch.Tensor] = []
    first_step, ended, finish, low = None, None, None, 0
    while finish is None:
        out = model(
            inputs_embeds=fed[None], past_key_values=cache, use_cache=True, logits_to_keep=1
        )
        cache = out.past_key_values
        logits = adjust(out.logits[0, -1], prompt_ids, output_ids, request)
        token_margins.append(argmax_margin(logits))
        if phase == "thinking":
            step = thinking.step(logits, hidden and hidden.value)
            low = count_low(step, low, request)
            ended = why_think_end(step, len(steps), low, request)
            if ended:
                step = think_end_step(
                    step, request.think_end_id, None if ended == "stop_token" else ended
                )
                phase = "answer"
            first_step = len(output_ids) if first_step is None else first_step
            steps.append(step)
            token = step.token
            fed = embed_mixture(model, step.ids, step.weights, step.offset)
        else:
            token = argmax(logits)
            if phase == "before" and token == request.think_start_id:
                phase = "thinking"
            fed = embed_tokens(model, [token])
        output_ids.append(token)
        inputs.append(fed[0].clone())
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
        fed=inputs,
        low=low,
        method_state=thinking.state,
    )


def first_phase(
    prompt_ids: Sequence[int], request: Request
) -> Literal["before", "thinking", "answer"]:
    """thinking: the prompt ends inside an open think block. A discrete request has an answer only."""
    if request.method == "discrete":
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
    if step.token == request.think_end_id:
        return "stop_token"
    if step.concludes:
        return "method"
    if request.cold_stop_threshold is not None and low >= request.cold_stop_steps:
        return "cold_stop"
    if request.max_thinking_tokens is not None and emitted >= request.max_thinking_tokens:
        return "max_thinking_tokens"
    return None


def adjust(
    logits: torch.Tensor, prompt_ids: Sequence[int], output_ids: Sequence[int], request: Request
) -> torch.Tensor:
    """`logits` [V] after penalties and bias. SGLang's order under the overlap schedule: additive
    penalties, the repetition penalty, the bias. With that schedule off the order of the penalties
    is not defined (a set of classes, `SamplingBatchInfo.from_schedule_batch`)."""
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
        logits[token] = (
            value * request.repetition_penalty if value < 0 else value / request.repetition_penalty
        )
    for token, bias in request.logit_bias.items():
        logits[token] += bias
    return logits
