"""What a value of a run file may be, in words and as a check."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Rule(NamedTuple):
    allowed: str
    """Reads after "must be"."""
    holds: Callable[[Any], bool]


def check(ok: bool, key: str, allowed: str, value: Any) -> None:
    """Raises ValueError naming key, range and value."""
    if not ok:
        raise ValueError(f"{key} must be {allowed}; got {value!r}.")


def check_fields(settings: Any, prefix: str, **rules: Rule) -> None:
    """Check the named fields of a dataclass. Raises ValueError as `check`."""
    for name, rule in rules.items():
        value = getattr(settings, name)
        check(rule.holds(value), f"{prefix}{name}", rule.allowed, value)


def integer(least: int) -> Rule:
    return Rule(f"an integer >= {least}", lambda v: _is_integer(v) and v >= least)


def number(allowed: str, holds: Callable[[float], bool]) -> Rule:
    return Rule(allowed, lambda v: _is_number(v) and holds(v))


def optional(rule: Rule) -> Rule:
    return Rule(rule.allowed, lambda v: v is None or rule.holds(v))


TEXT = Rule("a text", lambda v: isinstance(v, str) and v.strip() != "")


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
