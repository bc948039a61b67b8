"""From what a client wrote to what the engine runs: defaults, aliases, checks, both phases.

Every error is a ValueError, an HTTP 400, that names key, value and range.
"""

import math
from collections.abc import Mapping
from functools import cache, reduce
from operator import or_
from typing import Annotated, Any, NamedTuple, get_args

import msgspec
from sglang_soft_kernels.layout import EOS_COLUMNS, TOP_K_OFF
from sglang_soft_kernels.sequences import MAX_CLOSING, MAX_DELIMITER

from sglang_soft import methods, presets, stopping
from sglang_soft.methods.base import Method
from sglang_soft.params import (
    KEY,
    Parameter,
    RequestParams,
    Sampling,
    ThinkingParams,
    parameters,
)
from sglang_soft.stopping import keys
from sglang_soft.trace import Trace

DEFAULT_METHOD = "soft"
TRACE_KEYS = ("trace", "at", "cut", "keep")
"""Keys of a request that are no parameters of a method (server/given.py)."""
_NOT_VALIDATED = (
    "the request did not pass a front end with the plugin, which validates it: use this server's "
    "own HTTP port or Engine ({})"
)
_COMMON = {p.name: p for p in parameters(ThinkingParams)}


class Resolved(NamedTuple):
    """What a request asks for, with nothing left to default."""

    params: ThinkingParams
    method: Method
    thinking: Sampling
    answer: Sampling


@cache
def _names() -> dict[str, tuple[Parameter, str | None]]:
    """Every key and alias: the parameter it stands for, and the method that owns it, if any."""
    found: dict[str, tuple[Parameter, str | None]] = {}
    for p in _COMMON.values():
        found |= {name: (p, None) for name in (p.name, *p.aliases)}
    for method in methods.registry().values():
        for p in method.own_parameters():
            found |= {name: (p, method.name) for name in (p.name, *p.aliases)}
    return found


def check(values: Mapping[str, Any], max_k: int, method: str | None = None) -> dict[str, Any]:
    """Validate the object that a request (or --soft-default) gave.

    Args:
        values: names or aliases of parameters; a null value means the default.
        max_k: the largest `max_topk` that this server allows.
        method: the method where `values` does not name one.

    Returns:
        The given values that are not null, by canonical name; a stopping rule under `stop`.

    Raises:
        ValueError: unknown key, a key given twice, a key of another method, two stopping rules,
            wrong type or out of range; names key, value and range.
    """
    preset = {} if values.get("preset") is None else presets.params_of(values["preset"])
    name = values.get("method") or preset.get("method") or method or DEFAULT_METHOD
    if not isinstance(name, str) or name not in methods.registry():
        known = ", ".join(methods.names())
        raise ValueError(f"{KEY}.method must be one of {known}; got {name!r}.")
    chosen = methods.get(name)
    result: dict[str, Any] = {"method": name} if values.get("method") or preset else {}
    for key, value in values.items():
        if key in ("method", "preset") or value is None:
            continue
        parameter, owner = _names().get(key, (None, None))
        if parameter is None:
            known = ", ".join(("method", "preset", *TRACE_KEYS, *_COMMON))
            raise ValueError(
                f"{KEY}: unknown key {key!r}; known keys: {known}, and those of the methods."
            )
        if parameter.name in result:
            aliases = ", ".join(parameter.aliases)
            raise ValueError(f"{KEY}.{key}: {parameter.name} is given twice (aliases: {aliases}).")
        if owner is not None and owner != chosen.name:
            raise ValueError(
                f"{KEY}.{key} is a parameter of method {owner}; got it with method {chosen.name!r}."
            )
        if parameter.name == "stop":
            result["stop"] = keys.check(value)
            continue
        allowed = None
        if parameter.name == "max_topk":
            less = ", less the slots that the method needs" if chosen.extra_slots else ""
            allowed = f"[1, {max_k - chosen.extra_slots}] with method {name}: --soft-max-k{less}"
        converted = parameter.convert(f"{KEY}.{key}", value, allowed)
        if parameter.name == "max_topk" and converted > max_k - chosen.extra_slots:
            raise ValueError(f"{KEY}.{key} is out of range (allowed: {allowed}); got {value!r}.")
        result[parameter.name] = converted
    keys.take_short(result, values)
    if name != preset.get("method", name):  # its own parameters mean nothing to another method
        preset = {k: v for k, v in preset.items() if k in _COMMON}
    preset = {k: v for k, v in preset.items() if k != "method"}
    result = keys.merged(preset, result)
    if result.get("max_topk", 1) > max_k - chosen.extra_slots:
        raise ValueError(
            f"{KEY}.preset={values['preset']} asks for max_topk {result['max_topk']}, more than "
            f"this server allows ({max_k - chosen.extra_slots}: --soft-max-k); give a smaller one."
        )
    return result


def resolve(
    raw: Any, *, request: Sampling, default: Mapping[str, Any] | None, max_k: int
) -> Resolved | None:
    """What a request asks for, once defaults and the request's own sampling are filled in.

    Args:
        raw: the request's `custom_params["soft_thinking"]`: absent (None), a bool or an object.
        request: the request's own sampling parameters.
        default: the server-wide default (already checked), or None where there is none.
        max_k: the largest `max_topk` that this server allows.

    Returns:
        None for a discrete request.

    Raises:
        ValueError: as `check`, or `raw` is neither a bool nor an object.
    """
    if raw is False or (raw is None and default is None):
        return None
    if raw is not None and raw is not True and not isinstance(raw, Mapping):
        kind = type(raw).__name__
        raise ValueError(f"{KEY} must be true, false or an object; got {raw!r} ({kind}).")
    server = dict(default or {})
    checked = check(raw if isinstance(raw, Mapping) else {}, max_k, server.get("method"))
    method = methods.get(checked.get("method") or server.get("method") or DEFAULT_METHOD)
    if method.name != server.get("method", DEFAULT_METHOD):
        # The server-wide default is about another method: its own parameters mean nothing here.
        server = {key: value for key, value in server.items() if key in _COMMON}
    given = {k: v for k, v in keys.merged(server, checked).items() if k != "method"}
    params = method.Params(**keys.structs(given))
    widest = max_k - method.extra_slots
    if params.max_topk > widest:  # a default: of the method, or of the server for another one
        params = msgspec.structs.replace(params, max_topk=widest)
    _check_rollout(params, method)
    return Resolved(params, method, request.given(params), request.given(params, "answer_"))


def _check_rollout(params: ThinkingParams, method: Method) -> None:
    """Raises ValueError: the log-probabilities of a roll-out cannot be had."""
    if not params.return_rollout:
        return
    if method.stochastic and type(method).log_prob is Method.log_prob:
        raise ValueError(
            f"{KEY}.return_rollout needs log-probabilities, and method {method.name} draws without "
            "giving them (Method.log_prob); leave it out."
        )
    if params.weight_bits and method.has_density:
        raise ValueError(
            f"{KEY}.return_rollout and {KEY}.weight_bits={params.weight_bits} exclude each other "
            f"with method {method.name}: its log-probability is the density of weights that are "
            "not rounded; leave one out."
        )


def _any_params() -> Any:
    """The tagged union of every method's struct, each with the union of every rule's."""
    stop = next(f for f in msgspec.structs.fields(ThinkingParams) if f.name == "stop").type
    meta = next(t for t in get_args(stop) if hasattr(t, "__metadata__")).__metadata__[0]
    field = ("stop", Annotated[stopping.any_params(), meta] | None, None)
    structs = [
        msgspec.defstruct(
            f"{type(method).__name__}Params", [field], bases=(method.Params,), tag=method.name,
            kw_only=True, frozen=True,
        )
        for method in methods.registry().values()
    ]  # fmt: skip
    return reduce(or_, structs)


@cache
def _encoded() -> type:
    """`RequestParams` with the struct of any method."""
    return msgspec.defstruct("Encoded", [("params", _any_params())], bases=(RequestParams,))


@cache
def _decoder() -> msgspec.json.Decoder:
    return msgspec.json.Decoder(_encoded())


def _plain(found: RequestParams) -> RequestParams:
    """With the structs of the registries in place of those of the union."""
    params = methods.get(found.method).Params(**msgspec.structs.asdict(found.params))
    return RequestParams(**msgspec.structs.asdict(found) | {"params": params})


def decode(text: Any, max_k: int, vocab_size: int) -> RequestParams:
    """Read `RequestParams.encode`, and check what the engine would fall over.

    Raises ValueError: `text` is not such a string, or was not made by a front end of this server.
    """
    try:
        request = _plain(_decoder().decode(text))
    except (TypeError, RecursionError, msgspec.MsgspecError) as error:
        raise ValueError(_NOT_VALIDATED.format(error)) from None
    keep, start, end = request.thinking, request.think_start, request.think_end
    method = methods.get(request.method)
    ids = (*start, *end, *request.closing)
    short = len(start) <= MAX_DELIMITER and 1 <= len(end) <= MAX_DELIMITER
    right = {
        "max_topk": request.params.max_topk + method.extra_slots <= max_k,
        "temperature": keep.temperature > 0 and math.isfinite(keep.temperature),
        "top_p": 0 < keep.top_p <= 1,
        "top_k": keep.top_k == -1 or 1 <= keep.top_k <= TOP_K_OFF,
        "min_p": 0 <= keep.min_p <= 1,
        "seed": -(2**63) <= request.seed < 2**63,
        "sample": 0 <= request.sample < 2**31,
        "max_new_tokens": 0 <= request.max_new_tokens < 2**31,
        "think tokens": short and all(0 <= i < vocab_size for i in ids),
        "closing": len(request.closing) <= MAX_CLOSING,
        "eos_ids": len(request.eos_ids) <= EOS_COLUMNS
        and all(0 <= i < 2**31 for i in request.eos_ids),
        **{
            name: 0 <= (getattr(request.params, name) or 0) < vocab_size
            for name in method.token_parameters
        },
    }
    if wrong := [name for name, fine in right.items() if not fine]:
        raise ValueError(_NOT_VALIDATED.format(f"out of range: {', '.join(wrong)}"))
    return request


def request_of(trace: Trace) -> RequestParams:
    """The request that made a trace, thinking from its first step on.

    Raises ValueError: the trace lacks what made it; names what.
    """
    params = trace.params
    if missing := [n for n in (*Sampling._fields, "max_new_tokens") if n not in params]:
        raise ValueError(f"the trace's params lack {', '.join(missing)}.")
    found = (trace.tokenizer.get(f"think_{name}_id") for name in ("start", "end"))
    start, end = ((i,) if isinstance(i, int) else tuple(i or ()) for i in found)
    if not end:
        raise ValueError("the trace does not name its think-end (tokenizer.think_end_id).")
    if trace.method not in methods.registry():
        known = ", ".join(methods.names())
        raise ValueError(f"the trace's method must be one of {known}; got {trace.method!r}.")
    struct = methods.get(trace.method).Params
    own = {name: params[name] for name in struct.__struct_fields__ if name in params}
    request = {
        "thinking": [params[name] for name in Sampling._fields],
        "seed": trace.seed or 0, "max_new_tokens": params["max_new_tokens"],
        "think_start": start, "think_end": end, "starts_thinking": True,
        "eos_ids": params.get("eos_ids", ()), "closing": params.get("closing_ids", ()),
        "params": own | {"method": trace.method},
    }  # fmt: skip
    try:
        return _plain(msgspec.convert(request, _encoded()))
    except msgspec.ValidationError as error:
        raise ValueError(f"the trace's params: {error}.") from None


def json_schema() -> dict[str, Any]:
    """JSON Schema of the object that a client sends: a union over `method`."""
    return msgspec.json.schema(_any_params())


def table() -> list[dict[str, str]]:
    """The common parameters as rows of text, for the command line, the endpoint and the docs."""
    known = ", ".join(methods.names())
    first = {
        "key": "method", "type": "str", "range": f"one of {known}", "default": DEFAULT_METHOD,
        "meaning": "How the next concept token is made from the logits; see the methods",
        "alias": "",
    }  # fmt: skip
    second = {
        "key": "preset", "type": "str", "range": "a name of `sglang-soft presets`", "default": "",
        "meaning": "Parameters as published for this model; what is given next to it wins",
        "alias": "",
    }  # fmt: skip
    return [first, second, *(_row(p) for p in _COMMON.values()), *_TRACE_ROWS]


def _trace_row(key: str, kind: str, allowed: str, meaning: str) -> dict[str, str]:
    return {
        "key": key,
        "type": kind,
        "range": allowed,
        "default": "",
        "meaning": meaning,
        "alias": "",
    }


_TRACE_ROWS = [
    _trace_row("trace", "object or str", "a trace, base64 of its file, or a handle of `keep`",
               "Go on from this trace; see Continue a thought"),
    _trace_row("at", "str", "one of next, answer, end",
               "Where: the thought's next step, the beginning of its answer, or after all of the "
               "trace, where the request's own prompt follows; default: where the trace stands"),
    _trace_row("cut", "int", ">= 0", "Keep only the first steps of the trace's thought"),
    _trace_row("keep", "bool", "true or false",
               "The server keeps the trace of this request and answers with a handle"),
]  # fmt: skip


def methods_table() -> list[dict[str, Any]]:
    """The methods: what each feeds, its source, the defaults that it changes, its parameters."""
    return [
        {
            "method": m.name,
            "feeds": m.describe(),
            "defaults": {
                p.name: p.default
                for p in parameters(m.Params)
                if p.name in _COMMON and p.default != _COMMON[p.name].default
            },
            "parameters": [_row(p) for p in m.own_parameters()],
            "stochastic": m.stochastic,
            "source": m.source,
        }
        for m in methods.registry().values()
    ]


def stop_rules_table() -> list[dict[str, Any]]:
    """The stopping rules: when each stops, its source, its parameters."""
    return [
        {
            "rule": rule.name,
            "stops": rule.describe(),
            "parameters": [_row(p) for p in rule.own_parameters()],
            "source": rule.source,
        }
        for rule in stopping.registry().values()
    ]


def _row(p: Parameter) -> dict[str, str]:
    allowed = "[1, max k] (--soft-max-k)" if p.name == "max_topk" else p.allowed
    return {
        "key": p.name,
        "type": p.type_name,
        "range": allowed,
        "default": "required" if p.required else "" if p.default is None else str(p.default),
        "meaning": p.meta.description or "",
        "alias": ", ".join(p.aliases),
    }
