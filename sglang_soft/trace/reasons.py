"""Why a thought ended."""

from sglang_soft_kernels.layout import StepKind

THINK_END_REASONS = {
    StepKind.STOP_TOKEN: "stop_token",
    StepKind.COLD_STOP: "cold_stop",
    StepKind.MAX_THINKING_TOKENS: "max_thinking_tokens",
    StepKind.METHOD: "method",
}
"""`thinking_finish_reason` of a thought whose last step emitted think-end."""

FINISH_REASONS = (*THINK_END_REASONS.values(), "length", "abort", "stop")
"""Every `thinking_finish_reason`; with the last three the request ended while it was thinking."""
