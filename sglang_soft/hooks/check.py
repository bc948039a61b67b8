"""Start-up checks of the registry. SGLang swallows a hook that fails: the check has to be ours."""

import inspect
import pkgutil
from collections.abc import Callable, Iterable

from sglang_soft.hooks.registry import Hook


class LazyHook:
    """A callable that imports its function when it is first called."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._function: Callable | None = None

    def __call__(self, *args, **kwargs):
        if self._function is None:
            self._function = load(self.path)
        return self._function(*args, **kwargs)


def load(path: str) -> Callable:
    """Our function at `module:name` or `module:Class.name`."""
    return pkgutil.resolve_name(path)


def check_targets(hooks: Iterable[Hook]) -> None:
    """Raise `SystemExit` naming the first target that is missing or has other parameters."""
    for hook in hooks:
        try:
            target = pkgutil.resolve_name(hook.target)
        except (ImportError, AttributeError) as error:
            raise SystemExit(_broken(hook, f"it cannot be found ({error})")) from error
        if not hook.parameters:
            continue
        found = tuple(inspect.signature(target).parameters)
        if inspect.ismethod(target):  # a bound classmethod does not show its first parameter
            found = ("cls", *found)
        if found[: len(hook.parameters)] != hook.parameters:
            problem = f"its parameters are {found}, expected {hook.parameters}"
            raise SystemExit(_broken(hook, problem))


def check_applied(hooks: Iterable[Hook], patched: set[str]) -> None:
    """Raise `SystemExit` naming the first hook that SGLang did not apply."""
    for hook in hooks:
        if hook.by_sglang and hook.target not in patched:
            raise SystemExit(_broken(hook, "the hook was not applied"))


def _broken(hook: Hook, problem: str) -> str:
    return (
        f"sglang-soft cannot change {hook.target}: {problem}. Without this change ({hook.why}) a "
        "server would silently decode plainly. Install a supported SGLang, or run without the "
        "plugin: SGLANG_PLUGINS=none."
    )
