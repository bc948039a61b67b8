"""Why a thought ended."""

from sglang_soft_kernels.layout import StepKind

REQUEST = 8
"""In place of a `StepKind`: think-end was put after an open thought by a request for its answer.
No step of the engine has this kind."""

THINK_END_REASONS: dict[int, str] = {
    StepKind.STOP_TOKEN: "stop_token",
    StepKind.COLD_STOP: "cold_stop",
    StepKind.MAX_THINKING_TOKENS: "max_thinking_tokens",
    StepKind.METHOD: "method",
    StepKind.STOP_RULE: "stop_rule",
    StepKind.EOS: "eos",
    REQUEST: "request",
}
"""`thinking_finish_reason` of a thought whose last step emitted think-end."""

FORCED = ("cold_stop", "max_thinking_tokens", "method", "stop_rule", "eos")
"""Those whose think-end the engine forced."""

STOP_REASONS = ("stop_string", "stop_regex", "stop_token_id", "stop_eos")
"""What ended a request while it was thinking, where it may (`thinking_stop`, `thinking_eos`)."""

FINISH_REASONS = (*THINK_END_REASONS.values(), *STOP_REASONS, "length", "abort", "stop")
"""Every `thinking_finish_reason`; those from STOP_REASONS on ended the request."""
