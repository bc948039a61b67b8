"""Why this scheduler's process cannot run soft requests, where the plugin is merely installed.

What makes it so is found where it is known: when the model is loaded or the sampler is made. A
server that was asked for Soft Thinking does not start then; any other one serves discrete requests
as if the plugin were not there, and answers a soft one with an error.
"""

from sglang_soft.methods import Method
from sglang_soft.params import Given, ThinkingParams
from sglang_soft.server.settings import get_settings
from sglang_soft.trace.check import check_weights_of

_reasons: list[str] = []
_runners: list = []


def found(reason: str) -> None:
    """Raises SystemExit if this server was asked for Soft Thinking."""
    if get_settings().enabled:
        raise SystemExit(f"sglang-soft: {reason}. Run without the plugin: SGLANG_PLUGINS=none.")
    _reasons.append(reason)


def serves(model_runner) -> None:
    """This process runs the model of this `ModelRunner`."""
    _runners[:] = [model_runner]


def reason(lora_id: str | None = None) -> str | None:
    """Why a soft request cannot run, or None. lora_id: of its adapter, if it has one."""
    if _reasons:
        return _reasons[0]
    managers = [getattr(runner, "lora_manager", None) for runner in _runners]
    if lora_id and any(getattr(m, "embed_tokens_module", None) is not None for m in managers):
        # SGLang adds what an adapter makes of the output token, not of the mixture.
        return "adapters of this server change the input embedding (LoRA on embed_tokens)"
    return None


def check_method(params: ThinkingParams, method: Method) -> None:
    """Raises ValueError: the model has not got what the request's method reads of it."""
    name = method.realigned_by
    if not name or not getattr(params, name):
        return
    for runner in _runners:
        if why := runner.soft.no_realignment:
            raise ValueError(f"{name}=true is not possible with this model: {why}.")


def check_model_of(given: Given | None) -> None:
    """Raises ValueError: a trace was made with other weights. The front end does not know them."""
    if given is None or given.embedding_rms is None:
        return
    for runner in _runners:
        check_weights_of(given.embedding_rms, runner.soft.fingerprint["embedding_rms"])
