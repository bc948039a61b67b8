"""TokenizerManager: validate soft requests before they leave the front end, and build what the
client reads."""

import copy
from functools import partial
from typing import Any

from sglang_soft import params
from sglang_soft.hooks.detokenizer_manager import FROM_END
from sglang_soft.methods.noise import sample_seed
from sglang_soft.server.admission import FrontEnd, ParallelSamples
from sglang_soft.server.answer import ClientTrace
from sglang_soft.server.http import current_call

SGLANG_SEED = 42
"""SGLang's seed of a request without one, in deterministic inference."""


def after_init(_result, self, server_args, *args, **kwargs) -> None:
    """Sets `tokenizer_manager.soft`."""
    self.soft = FrontEnd(self, server_args)


def create_tokenized_object(original, self, obj, input_text, input_ids, *args, **kwargs):
    """Validate `custom_params["soft_thinking"]` and encode it; ValueError becomes HTTP 400."""
    tokenized = original(self, obj, input_text, input_ids, *args, **kwargs)
    request = self.soft.admit(obj, tokenized)
    if request is not None and tokenized.sampling_params.n == 1:
        _expect(self, tokenized, request)
    return tokenized


def before_send_one_request(self, tokenized_obj) -> None:
    """Give each of n > 1 parallel samples parameters and a seed of its own: SGLang sends copies of
    one object. The first of them generates nothing and only fills the prefix cache."""
    sampling: Any = getattr(tokenized_obj, "sampling_params", None)
    samples = (getattr(sampling, "custom_params", None) or {}).get(params.KEY)
    if isinstance(samples, ParallelSamples):
        # With max_new_tokens 0 of their own, the samples look like the one before them.
        fills = sampling.max_new_tokens == 0 and not samples.filled
        samples.filled |= fills
        sampling = tokenized_obj.sampling_params = copy.copy(sampling)
        if fills:
            encoded = samples.prefill()
        else:
            sample, encoded = next(samples)
            seed = sampling.sampling_seed
            sampling.sampling_seed = sample_seed(SGLANG_SEED if seed is None else seed, sample)
        sampling.custom_params = {**sampling.custom_params, params.KEY: encoded}
        if not fills:
            _expect(self, tokenized_obj, samples.request)


def _expect(manager, tokenized, request: params.RequestParams) -> None:
    """`state.soft`: what the client will read."""
    if (state := manager.rid_to_state.get(tokenized.rid)) is not None:
        tenant = tokenized.extra_key, tokenized.cache_salt
        keep = partial(manager.soft.kept.put, tenant=tenant) if request.keep else None
        state.soft = ClientTrace(manager.soft.header, request.params.returns_trace, keep)


def update_request_meta_info(
    original, self, meta_info, state, customized_info, index, finish_reason
) -> None:
    """Take our field out of what SGLang would copy into `meta_info` as a list, and keep it on the
    request's state."""
    payloads = customized_info.get(params.KEY)
    others = {key: values for key, values in customized_info.items() if key != params.KEY}
    collected: ClientTrace | None = getattr(state, "soft", None)  # None: it fills the prefix cache
    if payloads and collected is not None and (payload := payloads[index]) is not None:
        collected.add(payload)
    original(self, meta_info, state, others, index, finish_reason)
    if isinstance(finish_reason, dict):
        finish_reason.pop(FROM_END, None)


async def stream_one_response(original, self, obj, state, *args, **kwargs):
    """Attach the summary, and the steps that were not yet sent: every step is sent once, however
    many chunks a stream has and whether SGLang's own fields in it are cumulative or not. Where the
    HTTP answer has room for one summary, all of it comes with the last chunk."""
    collected: ClientTrace | None = getattr(state, "soft", None)
    call = None if collected is None else current_call.get()
    ended = None if call is None else call.expect()
    async for out in original(self, obj, state, *args, **kwargs):
        meta_info = out["meta_info"]
        last = meta_info.get("finish_reason") is not None
        due = last or call is None or not call.whole
        weights = meta_info.get("weight_version")
        if collected is not None and due and (info := collected.take(weights)):
            meta_info[params.KEY] = info
            if last and ended is not None:
                ended(info)
        yield out
