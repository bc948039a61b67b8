"""Mutants: each breaks one promise on purpose, and the test that guards the promise has to fail.

A mutant is a function that patches functions or attributes of the product while it runs. It is
applied to every process of an engine under test, or to the process of the tests where they need no
engine; no file is ever changed. `make mutants` runs them (`__main__.py`).
"""

import importlib
import os
import pkgutil
from collections.abc import Callable
from typing import Any, NamedTuple

VARIABLE = "SGLANG_SOFT_MUTANT"
"""Environment variable: name of the mutant to apply."""


class Mutant(NamedTuple):
    name: str
    promise: str
    """The invariant that it breaks."""
    kills: str
    """pytest arguments: tests that must fail."""
    stops: str
    """The assertion of ours by which the engine itself notices the mutant and ends; "": none."""
    apply: Callable[[], None]

    @property
    def in_engine(self) -> bool:
        """Its tests ask an engine; it is applied to that engine's processes only."""
        return self.kills.startswith("tests/engine/")


MUTANTS: dict[str, Mutant] = {}


def mutant(promise: str, *, kills: str, stops: str = "") -> Callable[[Callable], Callable]:
    """Register a function that applies a mutant; its name, with "-", is the mutant's."""

    def register(function: Callable[[], None]) -> Callable[[], None]:
        name = function.__name__.replace("_", "-")
        assert name not in MUTANTS
        MUTANTS[name] = Mutant(name, promise, kills, stops, function)
        return function

    return register


def patch(target: str, change: Callable[[Any], Any]) -> None:
    """Put `change(original)` in place of `target`, "package.module.name" or "...Class.name".

    Raises LookupError: there is no such target, or the change is none.
    """
    owner_path, _, name = target.rpartition(".")
    try:
        owner = pkgutil.resolve_name(owner_path)
        original = getattr(owner, name)
    except (ImportError, AttributeError) as error:
        raise LookupError(f"the target of a mutant is gone: {target} ({error})") from error
    changed = change(original)
    if changed is original:
        raise LookupError(f"{target} was not changed")
    setattr(owner, name, changed)


def load() -> dict[str, Mutant]:
    """All mutants, by name. Imports nothing of the product."""
    for module in pkgutil.iter_modules(__path__):
        if module.name != "__main__":
            importlib.import_module(f"{__name__}.{module.name}")
    return MUTANTS


def apply_from_environment(*, in_engine: bool) -> None:
    """Apply the mutant that the environment names, in a process of an engine or of the tests."""
    if name := os.environ.get(VARIABLE):
        chosen = load()[name]
        if chosen.in_engine == in_engine:
            chosen.apply()
