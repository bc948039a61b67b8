"""Why a thought ended. docs/parameters.md has the table that clients read."""

from sglang_soft_kernels.layout import StepKind

THINK_END_REASONS = {
    StepKind.STOP_TOKEN: "stop_token",
    StepKind.COLD_STOP: "cold_stop",
    StepKind.MAX_THINKING_TOKENS: "max_thinking_tokens",
    StepKind.METHOD: "method",
    StepKind.EOS: "eos",
}
"""`thinking_finish_reason` of a thought whose last step emitted think-end."""

ENDED_WHILE_THINKING = (
    "length", "abort", "stop_string", "stop_regex", "stop_token_id", "eos_stop", "stop",
)  # fmt: skip
"""`thinking_finish_reason` of a thought in which the request ended. "stop": by something else, such
as a complete grammar."""

FINISH_REASONS = (*THINK_END_REASONS.values(), *ENDED_WHILE_THINKING)
"""Every `thinking_finish_reason`."""
