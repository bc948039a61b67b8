"""`POST /soft_thinking/logits`: prompt and trace in one prefill, and the logits of its steps.

What `sglang-soft verify --server` asks. The body is JSON: `trace`, whole; `first` and `stop`, the
steps [first, stop) whose logits are wanted. The answer is npz: `logits` [n, V] and `hidden` [n, H]
float32, and `header`, JSON with the model's fingerprint and its classes of tokens. Nothing of the
prefix cache is read: the logits are computed from the trace alone.
"""

import io
import secrets
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import orjson
from sglang.srt.managers.io_struct import GenerateReqInput

from sglang_soft import methods, resolve
from sglang_soft.methods import token_classes
from sglang_soft.params import KEY, Given, RequestParams
from sglang_soft.server import given
from sglang_soft.server.settings import Settings
from sglang_soft.trace import Trace
from sglang_soft.trace.cutting import segments

PATH = "/soft_thinking/logits"


def request(body: Any, model, settings: Settings) -> GenerateReqInput:
    """What a body asks of SGLang. model: SGLang's ModelConfig.

    Raises:
        ValueError: names the key, the value and what is allowed.
    """
    if not isinstance(body, Mapping) or not isinstance(body.get("trace"), Mapping):
        raise ValueError("the body must be an object with the keys trace, first and stop.")
    with given.naming("trace: "):
        trace = Trace.from_json(body["trace"], model.context_len)
    if trace.start is None or not len(trace.steps):
        raise ValueError("the trace has no thinking step.")
    with given.naming("trace: "):
        params, count = resolve.request_of(trace), len(trace.steps)
    stop = _whole(body, "stop", 1, count)
    first = _whole(body, "first", 0, stop - 1)
    _check_slots(trace, params, settings.max_k)
    _check_offsets(trace, model)
    given.check(trace, model, settings.max_k)
    size, max_mb = (
        (stop - first) * 4 * (model.vocab_size + model.hidden_size),
        settings.max_vector_mb,
    )
    if size > max_mb * 2**20:
        raise ValueError(
            f"the logits of {stop - first} steps are {size / 2**20:.1f} MiB; this server allows "
            f"{max_mb} MiB (--soft-max-vector-mb). Ask for fewer steps at once."
        )
    fed = trace.steps.copy(slice(0, stop - 1)).delta(0, trace.start)
    earlier = trace.prompt_delta()
    params = msgspec.structs.replace(
        params, max_new_tokens=0, host_bytes=size, only_answers=True,
        given=Given(len(trace.prompt_ids), fed, earlier), reads_from=trace.start + first - 1,
    )  # fmt: skip
    tokens = np.concatenate([trace.prompt_ids, trace.output_ids])[: trace.start + stop - 1]
    return GenerateReqInput(
        input_ids=tokens.tolist(),
        sampling_params={"max_new_tokens": 0, "custom_params": {KEY: params}},
        extra_key=secrets.token_hex(),  # no other request has this part of the prefix cache
    )


def _whole(body: Mapping[str, Any], key: str, low: int, high: int) -> int:
    value = body.get(key)
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{key} must be a whole number in [{low}, {high}]; got {value!r}.")
    return value


def _check_slots(trace: Trace, params: RequestParams, max_k: int) -> None:
    wanted = params.params.max_topk + methods.get(trace.method).extra_slots
    wanted = max(wanted, *(s.k for s in (trace.steps, trace.prompt_steps) if s is not None))
    if wanted > max_k:
        raise ValueError(
            f"the trace's concept tokens have {wanted} slots; this server has {max_k} "
            "(--soft-max-k)."
        )


def _check_offsets(trace: Trace, model) -> None:
    ours, size = str(model.dtype).removeprefix("torch."), model.hidden_size * model.dtype.itemsize
    known = methods.registry()
    made_by = [known[m] for s in segments(trace) if (m := s.get("method")) in known]
    feeding = [m.name for m in made_by if m.feeds_offset]
    for steps in (trace.steps, trace.prompt_steps):
        if steps is None:
            continue
        made_in, got = steps.offset_dtype, steps.offset_bytes
        needed = bool(feeding) and steps is trace.steps
        if (got not in (0, size) and made_in == ours) or (needed and not got):
            of = f" of method {', '.join(feeding)}" if needed else ""
            raise ValueError(f"embedding offsets{of} must have {size} bytes a step; got {got}.")
        if got and made_in != ours:
            raise ValueError(
                f"the trace has embedding offsets in {made_in}, which a server in {ours} does not "
                f"feed; start the reference with --dtype {made_in}."
            )


def answer(info: Mapping[str, Any], tokenizer) -> bytes:
    """npz. info: `meta_info.soft_thinking` of the request."""
    model = info["trace"]["model"]
    classes = {name: sorted(ids) for name, ids in token_classes.of(tokenizer).items()}
    header = orjson.dumps({"model": model, "token_ids": classes})
    hidden = np.frombuffer(info["hidden"], np.float32).reshape(-1, model["hidden_size"])
    logits = np.frombuffer(info["logits"], np.float32).reshape(len(hidden), -1)
    file = io.BytesIO()
    np.savez(file, logits=logits, hidden=hidden, header=np.frombuffer(header, np.uint8))
    return file.getvalue()
