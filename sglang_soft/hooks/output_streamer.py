"""SchedulerOutputStreamer: trace deltas and the summary travel with the tokens (SGLang's own
extension point)."""

from sglang.srt.managers.scheduler_components.output_streamer import SchedulerOutputStreamer

from sglang_soft import params
from sglang_soft.trace import Payload


def output_streamer_class(
    base: type[SchedulerOutputStreamer], _scheduler
) -> type[SchedulerOutputStreamer]:
    class SoftOutputStreamer(base):
        has_additional_customized_info = True

        def build_additional_customized_info(self, reqs: list) -> dict[str, list]:
            info = super().build_additional_customized_info(reqs)
            if any(req.soft for req in reqs):
                info[params.KEY] = [_payload(req) for req in reqs]
            return info

    return SoftOutputStreamer


def _payload(req) -> Payload | None:
    soft = req.soft
    if soft is None:
        return None
    records = soft.take_unsent() if soft.params.return_concepts else []
    if not req.finished():
        return Payload(records, None) if records else None
    return Payload(records, soft.summary(len(req.output_ids), req.finished_reason.to_json()))
