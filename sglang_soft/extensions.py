"""The registries of thinking methods and stopping rules, which every process fills alike."""

import importlib
import os
import threading
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Registry(Generic[T]):
    """Parts by name: built-in ones, installed packages' ones, then those that a setting names."""

    def __init__(
        self, package: str, built_in: Sequence[str], group: str, flag: str, variable: str
    ) -> None:
        """built_in: `module.Class` in `package`. group: of entry points, whose values are modules.
        flag, variable: the setting."""
        self.known: dict[str, T] = {}
        """What is registered so far."""
        self._package, self._built_in = package, built_in
        self._group, self._flag, self._variable = group, flag, variable
        self._is_filled = False
        self._filling = threading.RLock()

    def filled(self, register: Callable[[Any], Any]) -> dict[str, T]:
        """All of them. register: checks a part and puts it into `known`; modules of one's own call
        it when they are imported.

        Raises ValueError: a module cannot be imported, or what it registers is taken.
        """
        with self._filling:  # a thread that comes while another one fills it waits
            if not self._is_filled:
                self.known.clear()
                for path in self._built_in:
                    module, name = path.split(".")
                    part = getattr(importlib.import_module(f"{self._package}.{module}"), name)
                    register(part())
                for module in self._modules():
                    self._import(module)
                self._is_filled = True
            return self.known

    def _modules(self) -> list[str]:
        points = sorted(entry_points(group=self._group), key=lambda point: point.name)
        named = os.environ.get(self._variable, "").split(",")
        return [point.value for point in points] + [n.strip() for n in named if n.strip()]

    def _import(self, module: str) -> None:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ValueError(
                f"{self._flag} ({self._variable}): cannot import {module!r}: {error}."
            ) from error
