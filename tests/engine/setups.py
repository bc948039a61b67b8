"""Engine setups under test: what SGLang may do to a request, and how it is made to do it."""

from dataclasses import dataclass, field

RETRACT = {"SGLANG_TEST_RETRACT": "1", "SGLANG_TEST_RETRACT_INTERVAL": "4"}
SMALL = {"max_total_tokens": 8192, "max_running_requests": 32}


@dataclass(frozen=True)
class Setup:
    """One engine. `args`: SGLang server arguments; `env`: what its processes see."""

    family: str = "qwen3"
    args: dict = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)

    @property
    def overlap(self) -> bool:
        return not self.args.get("disable_overlap_schedule", False)

    @property
    def chunk(self) -> int | None:
        """Most tokens of one prefill; None: more than any test has."""
        return self.args.get("chunked_prefill_size")

    @property
    def delimiters(self) -> dict[str, str]:
        """Texts of think-start and think-end, where they are not <think> and </think>."""
        names = {"think_start": "SGLANG_SOFT_THINK_START", "think_end": "SGLANG_SOFT_THINK_END"}
        return {field: self.env[name] for field, name in names.items() if name in self.env}

    @property
    def retracts(self) -> bool:
        return "SGLANG_TEST_RETRACT" in self.env


START, END = "((((((((", "))))))))"
"""Delimiters of 8 tokens each. A bias on one token makes a model emit them by itself."""

SETUPS: dict[str, Setup] = {
    "default": Setup(),
    "no-overlap": Setup(args={"disable_overlap_schedule": True, "chunked_prefill_size": 8}),
    "mixed-chunk": Setup(
        args={"chunked_prefill_size": 8, "enable_mixed_chunk": True, "schedule_policy": "lpm"}
    ),
    "features": Setup(
        args={
            "reasoning_parser": "qwen3",
            "enable_custom_logit_processor": True,
            "enable_return_hidden_states": True,
            "enable_priority_scheduling": True,
            "enable_session_radix_cache": True,
            "max_running_requests": 12,
        }
    ),
    "retract": Setup(env=RETRACT),
    "retract-no-radix": Setup(
        args={"disable_radix_cache": True, "chunked_prefill_size": 8, "enable_mixed_chunk": True},
        env=RETRACT,
    ),
    "retract-no-overlap": Setup(args={"disable_overlap_schedule": True}, env=RETRACT),
    "delimiters": Setup(
        env=RETRACT | {"SGLANG_SOFT_THINK_START": START, "SGLANG_SOFT_THINK_END": END}
    ),
    "tp2": Setup(args={"tp_size": 2}, env=RETRACT | {"SGLANG_CPU_OMP_THREADS_BIND": "0|1"}),
    "llama": Setup("llama", env=RETRACT),
    "qwen2": Setup("qwen2", env=RETRACT),
    "gemma": Setup("gemma", env=RETRACT),
    "moe": Setup("qwen3_moe", env=RETRACT),
}

USUAL = tuple(name for name, setup in SETUPS.items() if not setup.delimiters)
"""Those with <think> and </think>."""

WITHOUT_PLUGIN = Setup(env={"SGLANG_PLUGINS": "sglang_soft_cpu"})
