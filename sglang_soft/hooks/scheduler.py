"""Scheduler: answer aborts, and check the concept pool while nothing runs (SGLANG_SOFT_CHECK=1, for
tests)."""

from sglang.srt.disaggregation.utils import prepare_abort
from sglang.srt.managers.schedule_batch import FINISH_ABORT

from sglang_soft.server.settings import get_settings


def send_abort_output(original, self, abort_req, req) -> None:
    """A request that ends in a queue (never run, or retracted) is answered through the output
    stream, with the tokens that it has and its summary; SGLang's own message has room for
    neither."""
    if getattr(req, "soft", None) is None or req.finished_output:
        return original(self, abort_req, req)
    if req.finished_reason is None:
        reason = abort_req.finished_reason or {}
        message = reason.get("message") or abort_req.abort_message or "Abort in waiting queue"
        if req.return_logprob and req.logprob.input_token_logprobs_val is None:
            prepare_abort(req, message)  # it never ran: there are no logprobs
        status, kind = reason.get("status_code"), reason.get("err_type")
        req.finished_reason = FINISH_ABORT(message, status, kind)
    self.output_streamer.stream_output([req], req.return_logprob)
    return None


def after_weight_update(_result, self, recv_req) -> None:
    """All ranks update at the same time, so they can measure together."""
    soft = getattr(self.tp_worker.model_runner, "soft", None)
    if soft is not None:
        soft.measure()


def after_on_idle(_result, self) -> None:
    """SGLang calls it in every round of an idle loop; the pool is checked once a pause."""
    soft = getattr(self.tp_worker.model_runner, "soft", None)
    if soft is None or not get_settings().check or not soft.has_pool or not self.is_fully_idle():
        return
    if soft.checked_at != self.forward_ct:
        soft.checked_at = self.forward_ct
        soft.pool.check_integrity(self.req_to_token_pool.free_slots)
