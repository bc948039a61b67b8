"""Scheduler: check the concept pool while nothing runs (SGLANG_SOFT_CHECK=1, for tests)."""

from sglang_soft.server.settings import get_settings


def after_on_idle(_result, self) -> None:
    """SGLang calls it in every round of an idle loop; the pool is checked once a pause."""
    soft = getattr(self.tp_worker.model_runner, "soft", None)
    if soft is None or not get_settings().check or not soft.has_pool or not self.is_fully_idle():
        return
    if soft.checked_at != self.forward_ct:
        soft.checked_at = self.forward_ct
        soft.pool.check_integrity(self.req_to_token_pool.free_slots)
