"""TokenizerManager: validate soft requests before they leave the front end, and build what the
client reads."""

import copy
from typing import Any

from sglang_soft import params
from sglang_soft.server.admission import FrontEnd, ParallelSamples
from sglang_soft.server.answer import ClientTrace


def after_init(_result, self, server_args, *args, **kwargs) -> None:
    """Sets `tokenizer_manager.soft`."""
    self.soft = FrontEnd(self, server_args)


def create_tokenized_object(original, self, obj, input_text, input_ids, *args, **kwargs):
    """Validate `custom_params["soft_thinking"]` and encode it; ValueError becomes HTTP 400."""
    tokenized = original(self, obj, input_text, input_ids, *args, **kwargs)
    self.soft.admit(obj, tokenized)
    return tokenized


def before_send_one_request(self, tokenized_obj) -> None:
    """Give each of n > 1 parallel samples parameters of its own: SGLang sends copies of one object,
    the first of which generates nothing and only fills the prefix cache."""
    sampling: Any = getattr(tokenized_obj, "sampling_params", None)
    samples = (getattr(sampling, "custom_params", None) or {}).get(params.KEY)
    if isinstance(samples, ParallelSamples):
        encoded = samples.encode(0) if sampling.max_new_tokens == 0 else next(samples)
        sampling = tokenized_obj.sampling_params = copy.copy(sampling)
        sampling.custom_params = {**sampling.custom_params, params.KEY: encoded}


def update_request_meta_info(
    original, self, meta_info, state, customized_info, index, finish_reason
) -> None:
    """Take our field out of what SGLang would copy into `meta_info` as a list, and keep it on the
    request's state (`state.soft`)."""
    payloads = customized_info.get(params.KEY)
    others = {key: values for key, values in customized_info.items() if key != params.KEY}
    if payloads and (payload := payloads[index]) is not None:
        if not hasattr(state, "soft"):
            state.soft = ClientTrace(self.soft.header)
        state.soft.add(payload)
    original(self, meta_info, state, others, index, finish_reason)


async def stream_one_response(original, self, obj, state, *args, **kwargs):
    """Attach the summary, and the steps that were not yet sent: every step is sent once, however
    many chunks a stream has and whether SGLang's own fields in it are cumulative or not."""
    async for out in original(self, obj, state, *args, **kwargs):
        collected: ClientTrace | None = getattr(state, "soft", None)
        if collected is not None and (info := collected.take()):
            out["meta_info"][params.KEY] = info
        yield out
