"""Stopping rules: one file each, with the interface of `base.py`, and the registry that every
process fills alike.

A rule of one's own: subclass `StopRule`, call `register` when its module is imported, and name the
module in `--soft-stop-rules` (SGLANG_SOFT_STOP_RULES), or in the entry-point group
`sglang_soft.stop_rules` of an installed package.
"""

from functools import cache, reduce
from operator import or_
from typing import Any

from sglang_soft import extensions
from sglang_soft.params import StopParams
from sglang_soft.stopping.base import BOUNDARIES, At, StopContext, StopRule

__all__ = [
    "BOUNDARIES",
    "ENTRY_POINTS",
    "MAX_STATE",
    "At",
    "StopContext",
    "StopRule",
    "get",
    "names",
    "number",
    "of",
    "register",
    "registry",
]

ENTRY_POINTS = "sglang_soft.stop_rules"
MAX_STATE = 48
"""Largest state of a rule: with that of a method it has to fit a column of a trace."""
_BUILT_IN = (
    "cold_stop.ColdStop", "budget.Budget", "rcpd.RCPD", "thinkbrake.ThinkBrake",
    "think_end_boost.ThinkEndBoost", "leash.Leash",
)  # fmt: skip
_rules = extensions.Registry[StopRule](
    __name__, _BUILT_IN, ENTRY_POINTS, "--soft-stop-rules", "SGLANG_SOFT_STOP_RULES"
)


def register(rule: StopRule) -> StopRule:
    """Add a rule. The order of registration numbers the rules, so it must be the same in every
    process.

    Raises:
        ValueError: its name is taken, or its state is too large.
    """
    if rule.name in _rules.known:
        raise ValueError(f"stopping rule {rule.name!r} is registered twice.")
    if len(rule.state) > MAX_STATE:
        raise ValueError(
            f"stopping rule {rule.name!r} may have a state of {MAX_STATE} numbers; it has "
            f"{len(rule.state)}."
        )
    _rules.known[rule.name] = rule
    return rule


def registry() -> dict[str, StopRule]:
    """Every rule by name: the built-in ones, installed packages' ones, then those of
    SGLANG_SOFT_STOP_RULES.

    Raises:
        ValueError: a module cannot be imported, or what it registers is taken.
    """
    return _rules.filled(register)


def names() -> tuple[str, ...]:
    return tuple(registry())


def get(name: str) -> StopRule:
    return registry()[name]


def of(params: StopParams | None) -> StopRule | None:
    """The rule whose parameters these are."""
    return None if params is None else get(str(type(params).__struct_config__.tag))


@cache
def number(name: str) -> int:
    """The number of a rule, which device rows hold in place of its name."""
    return names().index(name)


def any_params() -> Any:
    """The tagged union of every rule's struct."""
    return reduce(or_, (rule.Params for rule in registry().values()))
