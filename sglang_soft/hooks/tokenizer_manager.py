"""TokenizerManager: validate soft requests before they leave the front end, and build what the
client reads."""

import logging
import secrets
from typing import Any

import torch
from sglang.srt.managers.io_struct import GenerateReqInput
from sglang.srt.sampling.sampling_params import TOP_K_ALL

from sglang_soft import params, trace
from sglang_soft.config import get_config
from sglang_soft.hooks.http_server import add_endpoint
from sglang_soft.methods.base import Method
from sglang_soft.params import Sampling
from sglang_soft.support import unsupported_request, unsupported_server
from sglang_soft.thinking import ThinkTokens, resolve_think_tokens, starts_thinking
from sglang_soft.wire import SoftParams

logger = logging.getLogger(__name__)


def after_init(_result, self, server_args, *args, **kwargs) -> None:
    """Resolve what all requests share. A server that cannot think softly says so now where Soft
    Thinking was asked for (our launch_server, or a server-wide default), and at the first soft
    request otherwise."""
    config = get_config()
    self.soft_think_tokens = None
    self.soft_unsupported = unsupported_server(server_args)
    if self.soft_unsupported is None:
        try:
            self.soft_think_tokens = resolve_think_tokens(
                self.tokenizer, server_args.reasoning_parser, config, self.model_config.vocab_size
            )
        except ValueError as error:
            self.soft_unsupported = str(error)
    if self.soft_unsupported and (config.required or config.default is not None):
        raise SystemExit(f"sglang-soft: {self.soft_unsupported}")
    add_endpoint(config, self.soft_think_tokens, self.soft_unsupported)
    logger.info(
        "Soft Thinking: %s",
        self.soft_unsupported or f"ready, think tokens {self.soft_think_tokens}",
    )


def create_tokenized_object(original, self, obj, input_text, input_ids, *args, **kwargs):
    """Replace `custom_params["soft_thinking"]` by its validated, flat form; ValueError becomes HTTP
    400."""
    tokenized = original(self, obj, input_text, input_ids, *args, **kwargs)
    if not isinstance(obj, GenerateReqInput):
        return tokenized
    sampling = tokenized.sampling_params
    custom = dict(sampling.custom_params or {})
    raw = custom.pop(params.KEY, None)
    params.refuse_misspelt(custom)
    config = get_config()
    if raw is None and config.default is None:
        return tokenized
    own = Sampling(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=-1 if sampling.top_k == TOP_K_ALL else sampling.top_k,
        min_p=sampling.min_p,
    )
    resolved = params.resolve(raw, request=own, default=config.default, max_k=config.max_k)
    if resolved is not None:
        _refuse_unsupported(self, obj, sampling)
        values, answer = resolved.values, resolved.answer
        tokens: ThinkTokens = self.soft_think_tokens
        max_new_tokens = sampling.max_new_tokens
        if max_new_tokens is None:
            max_new_tokens = max(1, self.context_len - len(tokenized.input_ids))
        soft = SoftParams(
            method=resolved.method.name,
            args=resolved.method.args(values),
            seed=secrets.randbits(63) if sampling.sampling_seed is None else sampling.sampling_seed,
            sample=0,
            max_topk=values["max_topk"],
            thinking=resolved.thinking,
            cold_stop_entropy=values["cold_stop_entropy"],
            cold_stop_steps=values["cold_stop_steps"],
            max_thinking_tokens=values["max_thinking_tokens"],
            max_new_tokens=max_new_tokens,
            return_concepts=values["return_concepts"],
            think_start_id=tokens.start,
            think_end_id=tokens.end,
            starts_thinking=starts_thinking(tokenized.input_ids, tokens),
        )
        _refuse_unbounded(self.model_config, resolved.method, soft, config.max_vector_mb)
        custom[params.KEY] = soft.to_wire()
        sampling.temperature, sampling.top_p, sampling.min_p = (
            answer.temperature,
            answer.top_p,
            answer.min_p,
        )
        sampling.top_k = TOP_K_ALL if answer.top_k == -1 else answer.top_k
    sampling.custom_params = custom or None
    return tokenized


def _refuse_unsupported(self, obj, sampling) -> None:
    if self.soft_unsupported:
        raise ValueError(f"{params.KEY}: {self.soft_unsupported}.")
    reason = unsupported_request(obj, sampling)
    if reason:
        raise ValueError(
            f"{params.KEY} cannot be used together with {reason}; leave that out, or send {params.KEY}=false."
        )


def _refuse_unbounded(model_config, method: Method, soft: SoftParams, max_mb: int) -> None:
    """What a method needs that this request or server cannot give: host memory for vectors, a
    think-start token."""
    if method.needs_think_start and soft.think_start_id is None:
        raise ValueError(
            f"{params.KEY}.method={method.name} needs a think-start token; set --soft-think-start."
        )
    if not method.feeds_vector:
        return
    steps = (
        soft.max_new_tokens
        if soft.max_thinking_tokens is None
        else min(soft.max_new_tokens, soft.max_thinking_tokens)
    )
    itemsize = torch.empty((), dtype=model_config.dtype).element_size()
    needed = steps * model_config.hidden_size * itemsize
    if needed > max_mb * 2**20:
        raise ValueError(
            f"{params.KEY}.method={method.name} keeps {model_config.hidden_size * itemsize} bytes of host memory a "
            f"thinking token, up to {needed / 2**20:.1f} MiB for this request; this server allows {max_mb} MiB "
            f"(--soft-max-vector-mb). Lower max_thinking_tokens or max_new_tokens, now {steps} steps."
        )


def before_send_one_request(self, tokenized_obj) -> None:
    """Number the parallel samples of a request: they share one set of parameters, and SGLang sends
    them one by one."""
    sampling = getattr(tokenized_obj, "sampling_params", None)
    soft = (getattr(sampling, "custom_params", None) or {}).get(params.KEY)
    if sampling and soft and sampling.n > 1:
        soft["sample"] += 1


def update_request_meta_info(
    original, self, meta_info, state, customized_info, index, finish_reason
) -> None:
    """Take our field out of what SGLang would copy into `meta_info` as a list, and keep it on the
    request's state."""
    payloads: list[trace.Payload | None] = customized_info.get(params.KEY) or []
    customized_info = {key: values for key, values in customized_info.items() if key != params.KEY}
    if payloads and (payload := payloads[index]) is not None:
        if not hasattr(state, "soft_trace"):
            state.soft_trace = trace.ClientTrace()
        state.soft_trace.add(payload)
    original(self, meta_info, state, customized_info, index, finish_reason)


async def stream_one_response(original, self, obj, state, *args, **kwargs):
    """Attach the summary, and the concepts that were not yet sent: every concept is sent once,
    however many chunks a stream has and whether SGLang's own fields in it are cumulative or not."""
    async for out in original(self, obj, state, *args, **kwargs):
        collected: trace.ClientTrace | None = getattr(state, "soft_trace", None)
        if collected is not None:
            info: dict[str, Any] | None = collected.take()
            if info:
                out["meta_info"][params.KEY] = info
        yield out
