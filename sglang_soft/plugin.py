"""Entry point of the SGLang plugin group `sglang.srt.plugins`: register the hooks, fail closed.

SGLang calls `register` in every process and swallows every `Exception` that a plugin raises, which
would leave a server that silently decodes plainly. `SystemExit` is not an `Exception`: it stops the
process, with the remedy.
"""

import os
from importlib.metadata import version
from multiprocessing import current_process

SGLANG_WINDOW = ("0.5.22", "0.5.23")
"""The SGLang releases that the hooks were tested with."""

ANY_SGLANG = "SGLANG_SOFT_ANY_SGLANG"
"""Set by `make compat`: try another release. Every other start-up check stays."""

HTTP_APP = "SGLANG_HTTP_SERVER_APP_PATH"
"""SGLang's: the application that tokenizer workers (--tokenizer-worker-num) import."""
WRAPPED_APP = "SGLANG_SOFT_WRAPPED_APP"
"""Where a user's own value of it is kept."""
_OUR_APP = "sglang_soft.server.app:app"

_REMEDY = "Install a supported SGLang, or run without the plugin: SGLANG_PLUGINS=none."


def register() -> None:
    """Register every hook. Re-entrant; imports no torch.

    Raises:
        SystemExit: an SGLang outside the window, or (when SGLang applies the hooks) a hook that is
            missing or whose target no longer has the signature that the hook was written for.
    """
    installed = version("sglang")
    if installed not in SGLANG_WINDOW and os.environ.get(ANY_SGLANG) != "1":
        supported = ", ".join(SGLANG_WINDOW)
        raise SystemExit(f"sglang-soft supports sglang {supported}, found {installed}. {_REMEDY}")

    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    from sglang_soft.hooks.check import LazyHook, check_applied, check_targets
    from sglang_soft.hooks.registry import hooks_of

    # Tokenizer workers load no plugins by themselves, and inherit the environment.
    if (app := os.environ.get(HTTP_APP)) != _OUR_APP:
        if app is not None:
            os.environ[WRAPPED_APP] = app
        os.environ[HTTP_APP] = _OUR_APP
    apply_hooks = HookRegistry.apply_hooks
    if apply_hooks.__module__ == __name__:
        return
    hooks = hooks_of(installed, detokenizer=_process_target() == "run_detokenizer_process")
    for hook in hooks:
        if hook.by_sglang:
            HookRegistry.register(hook.target, LazyHook(hook.hook), HookType(hook.kind))

    def apply_and_check() -> None:
        check_targets(hooks)
        apply_hooks()
        check_applied(hooks, HookRegistry._patched)

    HookRegistry.apply_hooks = apply_and_check


def _process_target() -> str:
    """Name of the function that SGLang started this process for, or the empty string."""
    return getattr(getattr(current_process(), "_target", None), "__name__", "")
