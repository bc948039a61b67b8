"""A whole request with Hugging Face transformers: prefill once, then one position a step, each fed
as an embedding."""

import math
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Literal

import torch

from .embed import LastHidden, embed_mixture, embed_tokens
from .ending import Ending
from .request import Request
from .steps import ThinkingStep, argmax, argmax_margin, on_grid, think_end_step
from .stopping import Stopping
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
    thinking, ending = Thinking(request, model), Ending(request)
    stopping = Stopping(request.stop, request.end, request.boundary_ids)
    output_ids: list[int] = []
    token_margins: list[float] = []
    steps: list[ThinkingStep] = []
    inputs: list[torch.Tensor] = []
    first_step, ended, finish, why, low = None, None, None, None, 0
    while finish is None:
        out = model(
            inputs_embeds=fed[None], past_key_values=cache, use_cache=True, logits_to_keep=1
        )
        cache = out.past_key_values
        logits = adjust(out.logits[0, -1], prompt_ids, output_ids, request)
        if phase == "thinking":
            logits = stopping.adjusted(logits, ending.thought)
        token_margins.append(argmax_margin(logits))
        if phase == "thinking":
            step = thinking.step(logits, hidden and hidden.value)
            if request.weight_bits and any(step.weights):
                step = on_grid(step, request.weight_bits)
            low = count_low(step, low, request)
            rule = stopping.step(logits, ending.thought)
            step.margins.update(rule.margins)
            token, forced, ended = ending.emit(step, len(steps), low, rule.stops)
            if forced or ended:
                step = think_end_step(step, token, forced)
            first_step = len(output_ids) if first_step is None else first_step
            steps.append(step)
            fed = embed_mixture(model, step.ids, step.weights, step.offset)
        else:
            token = argmax(logits)
            fed = embed_tokens(model, [token])
        output_ids.append(token)
        inputs.append(fed[0].clone())
        why = why_stop(token, phase, request)
        if why is None and len(output_ids) >= request.max_new_tokens:
            why = "length"
        if phase == "thinking" and ended:
            phase = "answer"
            if why is None and request.max_answer_tokens == 0:
                why = "length"
        elif phase == "before" and output_ids[-len(request.start) :] == list(request.start):
            phase = "thinking"
        elif phase == "answer" and why is None and first_step is not None:
            answer = len(output_ids) - first_step - len(steps)
            why = "length" if answer == request.max_answer_tokens else None
        finish = "stop" if why not in (None, "length") else why
    if steps and not ended:
        ended = why
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
    ids = list(prompt_ids)
    start, end = (
        max((i for i in range(len(ids)) if ids[i : i + len(marker)] == list(marker)), default=-1)
        for marker in (request.start, request.end)
    )
    return "thinking" if start > end else "before"


def count_low(step: ThinkingStep, low: int, request: Request) -> int:
    """Cold Stop's counter: consecutive thinking steps, this one included, with an entropy below the
    threshold."""
    if request.cold is None:
        return 0
    step.margins["entropy"] = abs(step.entropy - request.cold.threshold)
    return low + 1 if step.entropy < request.cold.threshold else 0


def why_stop(token: int, phase: str, request: Request) -> str | None:
    """Whether the request ends with `token`, emitted in `phase`: in the thought, stop tokens count
    only where they were asked to."""
    if token in request.stop_ids and (phase != "thinking" or request.thinking_stop == "everywhere"):
        return "stop_token_id"
    return "stop_eos" if token in request.eos_ids else None


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
