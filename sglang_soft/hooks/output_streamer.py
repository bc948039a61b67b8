"""SchedulerOutputStreamer: trace deltas and the summary travel with the tokens (SGLang's own
extension point)."""

from sglang.srt.managers.scheduler_components.output_streamer import SchedulerOutputStreamer

from sglang_soft import params
from sglang_soft.engine import unsupported
from sglang_soft.server.answer import Payload
from sglang_soft.server.settings import get_settings


def output_streamer_class(
    base: type[SchedulerOutputStreamer], scheduler
) -> type[SchedulerOutputStreamer]:
    if getattr(scheduler, "rust_server", None) is not None:
        unsupported.found("SGLang's Rust server has no room for a plugin's output")
        return base
    soft = getattr(scheduler.tp_worker.model_runner, "soft", None)
    if soft is not None:  # the first of our hooks that sees both the model and the tokenizer
        soft.token_classes.tokenizer = scheduler.tokenizer
        if get_settings().enabled:
            soft.token_classes.make_all()

    class SoftOutputStreamer(base):
        has_additional_customized_info = True

        def build_additional_customized_info(self, reqs: list) -> dict[str, list]:
            info = super().build_additional_customized_info(reqs)
            if any(req.soft for req in reqs):
                model = scheduler.tp_worker.model_runner.soft.fingerprint
                info[params.KEY] = [Payload.of(req, model) for req in reqs]
            return info

    return SoftOutputStreamer
