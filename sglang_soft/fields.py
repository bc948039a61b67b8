"""One request parameter: its name, type, range, default and meaning, and how a value is checked
against them."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple


class Field(NamedTuple):
    """One request parameter."""

    name: str
    kind: type
    """bool, int, float or str; an int is accepted where a float is asked for, a bool never stands
    for a number."""
    default: Any
    """None: not set; what that means is said in `doc`."""
    allowed: str
    """The range in words, as an error message and the docs show it."""
    ok: Callable[[Any], bool]
    doc: str
    aliases: tuple[str, ...] = ()
    """Names of the same parameter in the paper authors' fork."""

    def check(self, label: str, value: Any) -> Any:
        """`value` as `kind`. label: what an error calls the parameter. Raises ValueError (type or
        range)."""
        kinds = (int, float) if self.kind is float else (self.kind,)
        if not isinstance(value, kinds) or (self.kind is not bool and isinstance(value, bool)):
            wanted, got = _article(self.kind.__name__), type(value).__name__
            raise ValueError(
                f"{label} must be {wanted} (allowed: {self.allowed}); got {value!r} ({got})."
            )
        finite = not isinstance(value, float) or math.isfinite(value)
        if not finite or not self.ok(value):
            raise ValueError(f"{label} is out of range (allowed: {self.allowed}); got {value!r}.")
        return self.kind(value)


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
