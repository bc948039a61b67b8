"""Request parameters of Soft Thinking: one table that parses, validates and explains them.

A request opts in with `custom_params={"soft_thinking": {...}}`, or `true` for the defaults; `false`
opts out of a server-wide default. Common parameters are in the table below, each method's own in
its file (`methods/`): nowhere else is a key, its type, its range or its default written.
"""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

from sglang_soft import methods
from sglang_soft.fields import Field
from sglang_soft.methods.base import Method

KEY = "soft_thinking"
"""The key inside SGLang's `SamplingParams.custom_params`."""

DEFAULT_METHOD = "soft"


def _sampling_fields(prefix: str, phase: str, fork: str | None) -> tuple[Field, ...]:
    def field(name: str, kind: type, allowed: str, ok: Callable[[Any], bool], doc: str) -> Field:
        aliases = (f"{fork}{name}",) if fork else ()
        return Field(
            f"{prefix}{name}",
            kind,
            None,
            allowed,
            ok,
            f"{doc} of the {phase}; default: the request's",
            aliases,
        )

    return (
        field(
            "temperature",
            float,
            "a finite number >= 0",
            lambda v: v >= 0,
            "Temperature (0: greedy)",
        ),
        field("top_p", float, "(0, 1]", lambda v: 0 < v <= 1, "Nucleus bound"),
        field(
            "top_k",
            int,
            "-1 (all) or >= 1",
            lambda v: v == -1 or v >= 1,
            "Number of most probable tokens kept",
        ),
        field(
            "min_p",
            float,
            "[0, 1]",
            lambda v: 0 <= v <= 1,
            "Least probability relative to the largest",
        ),
    )


def common_fields(max_k: int | str) -> tuple[Field, ...]:
    """Parameters of every method. max_k: the largest `max_topk` of this server, or what stands for
    it in the docs."""
    largest = max_k if isinstance(max_k, int) else 0
    return (
        Field("method", str, DEFAULT_METHOD, "one of " + ", ".join(methods.names()), lambda v: v in methods.names(),
              "How the next concept token is made from the logits; see the methods"),
        Field("max_topk", int, 10, f"[1, {max_k}] (--soft-max-k)", lambda v: 1 <= v <= largest,
              "K: the largest number of tokens in one concept token"),
        *_sampling_fields("", "thinking phase", None),
        *_sampling_fields("answer_", "text outside the thinking phase", "after_thinking_"),
        Field("cold_stop_entropy", float, 0.0, "a finite number >= 0 (nats; 0: off)", lambda v: v >= 0,
              "Cold Stop: entropy below which a thinking step counts as confident",
              ("early_stopping_entropy_threshold",)),
        Field("cold_stop_steps", int, 256, ">= 1", lambda v: 1 <= v < 2**31,
              "Cold Stop: consecutive confident steps after which think-end is forced",
              ("early_stopping_length_threshold",)),
        Field("max_thinking_tokens", int, None, ">= 0", lambda v: 0 <= v < 2**31,
              "Upper bound on thinking tokens; think-end is forced behind the last one; default: none"),
        Field("return_concepts", bool, False, "true or false", lambda v: True,
              "Return ids, weights and entropy of every thinking step"),
    )  # fmt: skip


class Sampling(NamedTuple):
    """Sampling parameters in SGLang's normal form: greedy is temperature 1 with top_k 1."""

    temperature: float
    top_p: float
    top_k: int
    """-1: all."""
    min_p: float


def refuse_misspelt(custom_params: Iterable[str]) -> None:
    """Raise ValueError for a key beside ours that is all but ours: the request would be decoded
    plainly unnoticed."""
    for key in custom_params:
        if get_close_matches(str(key).lower(), [KEY], cutoff=0.85):
            raise ValueError(
                f"custom_params: unknown key {key!r}; the key of Soft Thinking is {KEY!r}."
            )


def check(values: Mapping[str, Any], max_k: int, method: str | None = None) -> dict[str, Any]:
    """Validate the dict that a request (or --soft-default) gave.

    Args:
        values: names or aliases of parameters; a null value means the default.
        max_k: the largest `max_topk` that this server allows.
        method: the method where `values` does not name one.

    Returns:
        The given values that are not null, by canonical name.

    Raises:
        ValueError: unknown key, a key given twice, a key of another method, wrong type or out of
        range; names key,
            value and range.
    """
    fields = {name: (f, None) for f in common_fields(max_k) for name in (f.name, *f.aliases)}
    owned = {
        name: (f, m)
        for m in methods.registry().values()
        for f in m.fields
        for name in (f.name, *f.aliases)
    }
    result: dict[str, Any] = {}
    owners: dict[str, Method] = {}
    for key, value in values.items():
        field, owner = fields.get(key) or owned.get(key) or (None, None)
        if field is None:
            known = ", ".join(f.name for f in common_fields(max_k))
            raise ValueError(
                f"{KEY}: unknown key {key!r}; known keys: {known}, and those of the methods."
            )
        if value is None:
            continue
        if field.name in result:
            raise ValueError(
                f"{KEY}.{key}: {field.name} is given twice (aliases: {', '.join(field.aliases)})."
            )
        result[field.name] = field.check(f"{KEY}.{key}", value)
        if owner is not None:
            owners[key] = owner
    chosen = methods.get(result.get("method", method or DEFAULT_METHOD))
    for key, owner in owners.items():
        if owner is not chosen:
            raise ValueError(
                f"{KEY}.{key} is a parameter of method {owner.name}; got it with method {chosen.name!r}."
            )
    widest = max_k - chosen.extra_slots
    if result.get("max_topk", 1) > widest:
        raise ValueError(
            f"{KEY}.max_topk must be in [1, {widest}] with method {chosen.name} (--soft-max-k, less the slots that the "
            f"method needs); got {result['max_topk']!r}."
        )
    return result


class Resolved(NamedTuple):
    """What a request asks for, with nothing left to default."""

    method: Method
    values: dict[str, Any]
    """By field name, the method's own included."""
    thinking: Sampling
    answer: Sampling


def resolve(
    raw: Any, *, request: Sampling, default: Mapping[str, Any] | None, max_k: int
) -> Resolved | None:
    """What a request asks for, once defaults and the request's own sampling are filled in.

    Args:
        raw: the request's `custom_params["soft_thinking"]`: absent (None), a bool or a dict.
        request: the request's own sampling parameters.
        default: the server-wide default (already checked), or None where there is none.
        max_k: the largest `max_topk` that this server allows.

    Returns:
        None for a hard request.

    Raises:
        ValueError: as `check`, or `raw` is neither a bool nor a dict.
    """
    if raw is None or raw is True:
        given: Mapping[str, Any] = {}
        if raw is None and default is None:
            return None
    elif raw is False:
        return None
    elif isinstance(raw, Mapping):
        given = raw
    else:
        raise ValueError(
            f"{KEY} must be true, false or an object; got {raw!r} ({type(raw).__name__})."
        )

    server = dict(default or {})
    checked = check(given, max_k, server.get("method"))
    method = methods.get(checked.get("method", server.get("method", DEFAULT_METHOD)))
    if method.name != server.get("method", DEFAULT_METHOD):
        # The server-wide default is about another method: its own parameters mean nothing here.
        common = {f.name for f in common_fields(max_k)}
        server = {key: value for key, value in server.items() if key in common}
    values = {f.name: f.default for f in (*common_fields(max_k), *method.fields)}
    values |= method.defaults
    values["max_topk"] = min(values["max_topk"], max_k - method.extra_slots)
    values |= server | checked | {"method": method.name}
    if (
        values["max_topk"] > max_k - method.extra_slots
    ):  # from a server-wide default for another method
        values["max_topk"] = max_k - method.extra_slots
    return Resolved(
        method, values, _sampling(values, "", request), _sampling(values, "answer_", request)
    )


def _sampling(values: Mapping[str, Any], prefix: str, request: Sampling) -> Sampling:
    given = {
        name: values[f"{prefix}{name}"]
        for name in Sampling._fields
        if values[f"{prefix}{name}"] is not None
    }
    if "temperature" in given and "top_k" not in given and request.top_k == 1:
        # A greedy request is stored as top_k 1: a temperature of this phase's own must be able to
        # undo it.
        given["top_k"] = -1
    sampling = request._replace(**given)
    if (
        sampling.temperature < 1e-6
    ):  # SGLang's own threshold and normal form (SamplingParams.__post_init__)
        sampling = sampling._replace(temperature=1.0, top_k=1)
    return sampling


def _row(field: Field) -> dict[str, str]:
    return {
        "key": field.name,
        "type": field.kind.__name__,
        "range": field.allowed,
        "default": "" if field.default is None else str(field.default),
        "meaning": field.doc,
        "alias": ", ".join(field.aliases),
    }


def table() -> list[dict[str, str]]:
    """The common parameters as rows of text, for the command line, the endpoint and the docs."""
    return [_row(f) for f in common_fields("max K")]


def methods_table() -> list[dict[str, Any]]:
    """The methods: what each feeds, its source, the defaults that it changes, and its own
    parameters."""
    return [
        {
            "method": m.name,
            "feeds": m.describe(),
            "defaults": dict(m.defaults),
            "parameters": [_row(f) for f in m.fields],
            "random": m.random,
            "source": m.source,
        }
        for m in methods.registry().values()
    ]
