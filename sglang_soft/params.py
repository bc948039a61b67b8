"""Request parameters of Soft Thinking: one table that parses, validates and explains them.

A request opts in with `custom_params={"soft_thinking": {...}}`, or `true` for the defaults; `false` opts out of a
server-wide default. The table below is the only place where a key, its type, its range and its default are written.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

KEY = "soft_thinking"
"""The key inside SGLang's `SamplingParams.custom_params`."""

METHODS = ("soft",)


class Field(NamedTuple):
    """One request parameter."""

    name: str
    kind: type
    """bool, int, float or str; an int is accepted where a float is asked for, a bool never stands for a number."""
    default: Any
    """None: not set; what that means is said in `doc`."""
    allowed: str
    """The range in words, as an error message and the docs show it."""
    ok: Callable[[Any], bool]
    doc: str
    aliases: tuple[str, ...] = ()
    """Names of the same parameter in the paper authors' fork."""


def _sampling_fields(prefix: str, phase: str, fork: str | None) -> tuple[Field, ...]:
    def field(name: str, kind: type, allowed: str, ok: Callable[[Any], bool], doc: str) -> Field:
        aliases = (f"{fork}{name}",) if fork else ()
        return Field(
            f"{prefix}{name}", kind, None, allowed, ok, f"{doc} of the {phase}; default: the request's", aliases
        )

    return (
        field("temperature", float, "a finite number >= 0", lambda v: v >= 0, "Temperature (0: greedy)"),
        field("top_p", float, "(0, 1]", lambda v: 0 < v <= 1, "Nucleus bound"),
        field("top_k", int, "-1 (all) or >= 1", lambda v: v == -1 or v >= 1, "Number of most probable tokens kept"),
        field("min_p", float, "[0, 1]", lambda v: 0 <= v <= 1, "Least probability relative to the largest"),
    )


FIELDS: tuple[Field, ...] = (
    Field("method", str, "soft", "one of " + ", ".join(METHODS), lambda v: v in METHODS,
          "How the next concept token is made from the logits"),
    Field("max_topk", int, 10, "[1, {max_k}] (--soft-max-k)", lambda v: v >= 1,
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

_BY_NAME = {name: field for field in FIELDS for name in (field.name, *field.aliases)}


class Sampling(NamedTuple):
    """Sampling parameters in SGLang's normal form: greedy is temperature 1 with top_k 1."""

    temperature: float
    top_p: float
    top_k: int
    """-1: all."""
    min_p: float


class SoftParams(NamedTuple):
    """A validated soft request, with nothing left to default. Travels to the scheduler as a flat dict."""

    method: str
    max_topk: int
    thinking: Sampling
    cold_stop_entropy: float
    cold_stop_steps: int
    max_thinking_tokens: int | None
    return_concepts: bool
    think_start_id: int | None
    think_end_id: int
    starts_thinking: bool
    """The prompt ends inside an open think block."""

    def to_wire(self) -> dict[str, Any]:
        """A flat dict of scalars: what `SamplingParams.custom_params` can carry across processes."""
        flat = self._asdict()
        flat.update(flat.pop("thinking")._asdict())
        return flat

    @classmethod
    def from_wire(cls, flat: Mapping[str, Any]) -> "SoftParams":
        thinking = Sampling(*(flat[name] for name in Sampling._fields))
        return cls(thinking=thinking, **{k: flat[k] for k in cls._fields if k != "thinking"})


def check(values: Mapping[str, Any], max_k: int) -> dict[str, Any]:
    """Validate the dict that a request (or --soft-default) gave.

    Args:
        values: keys of `FIELDS` or their aliases; a null value means the default.
        max_k: the largest `max_topk` that this server allows.

    Returns:
        The given values that are not null, by canonical name.

    Raises:
        ValueError: unknown key, a key given twice, wrong type or out of range; names key, value and range.
    """
    result: dict[str, Any] = {}
    for key, value in values.items():
        field = _BY_NAME.get(key)
        if field is None:
            known = ", ".join(f.name for f in FIELDS)
            raise ValueError(f"{KEY}: unknown key {key!r}; known keys: {known}.")
        if value is None:
            continue
        if field.name in result:
            raise ValueError(f"{KEY}.{key}: {field.name} is given twice (aliases: {', '.join(field.aliases)}).")
        result[field.name] = _convert(field, key, value, max_k)
    return result


def _convert(field: Field, key: str, value: Any, max_k: int) -> Any:
    allowed = field.allowed.format(max_k=max_k)
    kinds = (int, float) if field.kind is float else (field.kind,)
    typed = isinstance(value, kinds) and (field.kind is bool or not isinstance(value, bool))
    if not typed:
        wanted, got = _article(field.kind.__name__), type(value).__name__
        raise ValueError(f"{KEY}.{key} must be {wanted}, in {allowed}; got {value!r} ({got}).")
    finite = not isinstance(value, float) or math.isfinite(value)
    if not finite or not field.ok(value) or (field.name == "max_topk" and value > max_k):
        raise ValueError(f"{KEY}.{key} must be in {allowed}; got {value!r}.")
    return field.kind(value)


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def resolve(
    raw: Any, *, request: Sampling, default: Mapping[str, Any] | None, max_k: int
) -> tuple[dict[str, Any], Sampling, Sampling] | None:
    """What a request asks for, once the server-wide default and the request's own sampling are filled in.

    Args:
        raw: the request's `custom_params["soft_thinking"]`: absent (None), a bool or a dict.
        request: the request's own sampling parameters.
        default: the server-wide default (already checked), or None where there is none.
        max_k: the largest `max_topk` that this server allows.

    Returns:
        None for a hard request; else (values by field name, thinking-phase sampling, answer-phase sampling).

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
        raise ValueError(f"{KEY} must be true, false or an object; got {raw!r} ({type(raw).__name__}).")

    values = {f.name: f.default for f in FIELDS}
    values["max_topk"] = min(values["max_topk"], max_k)
    values.update(default or {})
    values.update(check(given, max_k))
    return values, _sampling(values, "", request), _sampling(values, "answer_", request)


def _sampling(values: Mapping[str, Any], prefix: str, request: Sampling) -> Sampling:
    given = {name: values[f"{prefix}{name}"] for name in Sampling._fields if values[f"{prefix}{name}"] is not None}
    if "temperature" in given and "top_k" not in given and request.top_k == 1:
        # A greedy request is stored as top_k 1: a temperature of this phase's own must be able to undo it.
        given["top_k"] = -1
    sampling = request._replace(**given)
    if sampling.temperature < 1e-6:  # SGLang's own threshold and normal form (SamplingParams.__post_init__)
        sampling = sampling._replace(temperature=1.0, top_k=1)
    return sampling


def table() -> list[dict[str, str]]:
    """The parameters as rows of text, for the command line and the docs."""
    return [
        {
            "key": f.name,
            "type": f.kind.__name__,
            "range": f.allowed.format(max_k="max K"),
            "default": "" if f.default is None else str(f.default),
            "meaning": f.doc,
            "alias": ", ".join(f.aliases),
        }
        for f in FIELDS
    ]
