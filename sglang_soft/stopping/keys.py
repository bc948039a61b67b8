"""The stopping rule of a request: the key `stop`, the keys that are short for Cold Stop, and the
server's default.

Checked values are plain: `{"rule": NAME, ...}`, of the parameters those that were given.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from sglang_soft import stopping
from sglang_soft.params import KEY, StopParams, ThinkingParams

COLD_STOP = {"cold_stop_entropy": "entropy", "cold_stop_steps": "steps"}
"""Keys that are short for the rule cold_stop, and its parameters. Traces have both."""


def check(value: Any) -> dict[str, Any]:
    """Validate the object under `stop`. Null values mean the default.

    Raises:
        ValueError: no object, an unknown rule or key, a parameter that is missing, of a wrong type
            or out of range; names key, value and range.
    """
    known = ", ".join(stopping.names())
    if not isinstance(value, Mapping):
        kind = type(value).__name__
        raise ValueError(
            f"{KEY}.stop must be null or an object with the key rule (one of {known}); got "
            f"{repr(value)[:100]} ({kind})."
        )
    if "rule" not in value:
        raise ValueError(f"{KEY}.stop.rule is missing (one of {known}).")
    name = value["rule"]
    if not isinstance(name, str) or name not in stopping.registry():
        raise ValueError(f"{KEY}.stop.rule must be one of {known}; got {repr(name)[:100]}.")
    own = {p.name: p for p in stopping.get(name).own_parameters()}
    result: dict[str, Any] = {"rule": name}
    for key, given in value.items():
        if key == "rule" or given is None:
            continue
        if key not in own:
            keys = ", ".join(("rule", *own))
            raise ValueError(
                f"{KEY}.stop: unknown key {key!r} of rule {name}; its keys are {keys}."
            )
        result[key] = own[key].convert(f"{KEY}.stop.{key}", given)
    for key, parameter in own.items():
        if parameter.required and key not in result:
            raise ValueError(
                f"{KEY}.stop.{key} is required by rule {name} (allowed: {parameter.allowed}); got "
                "none."
            )
    return result


def take_short(values: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Make `stop` of the keys that are short for Cold Stop. values: checked ones, by canonical
    name, in place; given: the keys as the client wrote them.

    Raises:
        ValueError: they are given next to `stop`; names both.
    """
    short = {part: values.pop(key) for key, part in COLD_STOP.items() if key in values}
    if not short:
        return
    if "stop" in values:
        names = [k for k, v in given.items() if v is not None and _is_short(k)]
        raise ValueError(
            f"{KEY}.{names[0]} is short for the stopping rule cold_stop and excludes {KEY}.stop, "
            f"which is {values['stop']['rule']} here; got both. Leave one out."
        )
    values["stop"] = {"rule": "cold_stop"} | short


def _is_short(key: str) -> bool:
    return key in COLD_STOP or key.startswith("early_stopping_")


def merged(default: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Checked parameters of a request on those that it does not give. Of one rule they merge key by
    key; another rule takes the place of the default's."""
    both = {**default, **own}
    before, after = default.get("stop"), own.get("stop")
    if before and after and before["rule"] == after["rule"]:
        both["stop"] = {**before, **after}
    return both


def structs(values: Mapping[str, Any]) -> dict[str, Any]:
    """Checked parameters as fields of `ThinkingParams`: the rule's struct, and Cold Stop's two
    fields, which the engine and older clients read."""
    fields = dict(values)
    if (stop := fields.get("stop")) is not None:
        own = {key: value for key, value in stop.items() if key != "rule"}
        fields["stop"] = stopping.get(stop["rule"]).Params(**own)
        if stop["rule"] == "cold_stop":
            fields |= {key: getattr(fields["stop"], part) for key, part in COLD_STOP.items()}
    return fields


def of_trace(params: Mapping[str, Any]) -> dict[str, Any]:
    """A trace's parameters as a request would give them: its rule once."""
    left = {"stop"} if params.get("stop") is None else set(COLD_STOP)
    if not params.get("cold_stop_entropy"):  # off
        left |= set(COLD_STOP)
    return {key: value for key, value in params.items() if key not in left}


def same_rule(params: ThinkingParams, trace_params: Mapping[str, Any]) -> bool:
    """Whether a trace's request had this stopping rule, with the same parameters."""
    return plain(params.stop) == trace_params.get("stop")


def plain(stop: StopParams | None) -> dict[str, Any] | None:
    return msgspec.to_builtins(stop)
