"""Mutants: each breaks one promise by a patch of a function; the tests that guard it must fail.

`make mutants` runs them (`__main__.py`). SGLANG_SOFT_MUTANT names the one that is applied: to every
process of an engine under test, before it starts, or to the process of the tests where they ask no
engine.
"""

import importlib
import os
import pkgutil
from collections.abc import Callable
from typing import Any, NamedTuple

NAME = "SGLANG_SOFT_MUTANT"


class Mutant(NamedTuple):
    name: str
    promise: str
    """What the patch breaks."""
    tests: str
    """pytest arguments: tests that must fail."""
    patch: Callable[[], None]
    stops: str
    """The assertion of ours by which the engine itself notices the mutant and ends; "": none."""

    @property
    def in_engine(self) -> bool:
        """Its tests ask an engine, and it is applied to that engine only."""
        return self.tests.startswith("tests/engine")


MUTANTS: dict[str, Mutant] = {}


def mutant(promise: str, tests: str, stops: str = "") -> Callable:
    """Register the decorated patch under its name."""

    def register(patch: Callable[[], None]) -> Callable[[], None]:
        name = patch.__name__.replace("_", "-")
        assert name not in MUTANTS, f"two mutants {name}"
        MUTANTS[name] = Mutant(name, promise, tests, patch, stops)
        return patch

    return register


def replace(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put `make(original)` in place of an attribute. AttributeError: the mutant is out of date."""
    setattr(owner, name, make(getattr(owner, name)))


def load() -> dict[str, Mutant]:
    """All mutants, by name. Imports nothing of the product but its layout."""
    for module in pkgutil.iter_modules(__path__):
        if module.name != "__main__":
            importlib.import_module(f"{__name__}.{module.name}")
    return MUTANTS


def apply(*, in_engine: bool) -> None:
    """Apply the mutant that the environment names, if it belongs into this process."""
    if name := os.environ.get(NAME):
        chosen = load()[name]
        if chosen.in_engine == in_engine:
            chosen.patch()
