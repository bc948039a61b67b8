"""Modules that register methods and stopping rules of one's own."""

import importlib
import os
from importlib.metadata import entry_points


def load(group: str, flag: str, variable: str) -> None:
    """Import what installed packages name in an entry-point group, then what a setting names.

    Raises ValueError: a module cannot be imported, or what it registers is taken.
    """
    modules = [point.value for point in sorted(entry_points(group=group), key=lambda p: p.name)]
    modules += [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ValueError(f"{flag} ({variable}): cannot import {module!r}: {error}.") from error
