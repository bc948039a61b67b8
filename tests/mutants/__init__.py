"""Mutants: each breaks one promise by a patch of a function; the tests that guard it must fail.

`make mutants` runs them (`__main__.py`). SGLANG_SOFT_MUTANT names the one that is applied. In the
engine's processes SGLANG_SOFT_METHODS imports `tests.mutants.apply`, in pytest conftest.py does.
"""

import os
from collections.abc import Callable
from typing import NamedTuple

NAME = "SGLANG_SOFT_MUTANT"


class Mutant(NamedTuple):
    name: str
    promise: str
    """What the patch breaks."""
    tests: str
    """pytest arguments: tests that must fail."""
    patch: Callable[[], None]
    stops: str
    """The assertion of ours by which the engine itself notices the mutant. SGLang then ends its
    whole process tree, the tests included."""


MUTANTS: dict[str, Mutant] = {}


def mutant(promise: str, tests: str, stops: str = "") -> Callable:
    """Register the decorated patch under its name."""

    def register(patch: Callable[[], None]) -> Callable[[], None]:
        name = patch.__name__.replace("_", "-")
        MUTANTS[name] = Mutant(name, promise, tests, patch, stops)
        return patch

    return register


def replace(owner: object, name: str, make: Callable[[Callable], Callable]) -> None:
    """Put `make(original)` in place of an attribute. AttributeError: the mutant is out of date."""
    setattr(owner, name, make(getattr(owner, name)))


def apply() -> None:
    """Apply the mutant that the environment names."""
    if name := os.environ.get(NAME):
        from tests.mutants import patches  # noqa: F401 (fills MUTANTS)

        MUTANTS[name].patch()
