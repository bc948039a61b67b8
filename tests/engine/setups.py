"""Engine setups under test: what SGLang may do to a request, and how it is made to do it."""

from dataclasses import dataclass, field

RETRACT = {"SGLANG_TEST_RETRACT": "1", "SGLANG_TEST_RETRACT_INTERVAL": "4"}
SMALL = {"max_total_tokens": 8192, "max_running_requests": 24}


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
    def retracts(self) -> bool:
        return "SGLANG_TEST_RETRACT" in self.env


SETUPS: dict[str, Setup] = {
    "default": Setup(),
    "no-overlap": Setup(args={"disable_overlap_schedule": True, "chunked_prefill_size": 8}),
    "mixed-chunk": Setup(args={"chunked_prefill_size": 8, "enable_mixed_chunk": True}),
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
    "tp2": Setup(args={"tp_size": 2}, env=RETRACT | {"SGLANG_CPU_OMP_THREADS_BIND": "0|1"}),
    "llama": Setup("llama", env=RETRACT),
    "qwen2": Setup("qwen2", env=RETRACT),
    "gemma": Setup("gemma", env=RETRACT),
    "moe": Setup("qwen3_moe", env=RETRACT),
}

WITHOUT_PLUGIN = Setup(env={"SGLANG_PLUGINS": "sglang_soft_cpu"})
