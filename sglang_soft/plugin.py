"""Entry point of the SGLang plugin group `sglang.srt.plugins`: register the hooks, and fail closed.

SGLang calls `register` in every process and swallows every `Exception` that a plugin raises, which
would leave a server that silently decodes plainly. `SystemExit` is not an `Exception`: it stops the
process, with the remedy.
"""

from importlib.metadata import version
from multiprocessing import current_process

SGLANG_WINDOW = ("0.5.23",)
"""The SGLang releases whose sources the hooks were written for and tested with."""

_REMEDY = "Install a supported SGLang, or run without the plugin: SGLANG_PLUGINS=none."


def register() -> None:
    """Register every hook of the ledger. Re-entrant; imports no torch.

    Raises:
        SystemExit: an SGLang outside the window, or (when SGLang applies the hooks) a hook that is
        missing or whose
            target no longer has the signature that the hook was written for.
    """
    installed = version("sglang")
    if installed not in SGLANG_WINDOW:
        raise SystemExit(
            f"sglang-soft supports sglang {', '.join(SGLANG_WINDOW)}, found {installed}. {_REMEDY}"
        )

    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    from sglang_soft.ledger import RECORDS, LazyHook, check_applied, check_signatures

    # The detokenizer runs none of the hooked classes; importing them all would only slow its start.
    if (
        getattr(HookRegistry, "_sglang_soft", False)
        or _process_target() == "run_detokenizer_process"
    ):
        return
    HookRegistry._sglang_soft = True

    for record in RECORDS:
        HookRegistry.register(record.target, LazyHook(record.hook), HookType(record.kind))

    # SGLang logs and goes on when a hook does not apply, so the check has to be ours, right behind
    # it.
    apply_hooks = HookRegistry.apply_hooks

    def apply_and_check() -> None:
        check_signatures(RECORDS)
        apply_hooks()
        check_applied(RECORDS, HookRegistry._patched)

    HookRegistry.apply_hooks = apply_and_check


def _process_target() -> str:
    """Name of the function that SGLang started this process for, or the empty string."""
    return getattr(getattr(current_process(), "_target", None), "__name__", "")
