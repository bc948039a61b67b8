"""Engine setups under test: what SGLang may do to a request, and how it is made to do it."""

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tests.models import tiny

RETRACT = {"SGLANG_TEST_RETRACT": "1", "SGLANG_TEST_RETRACT_INTERVAL": "4"}
SMALL = {"max_total_tokens": 8192, "max_running_requests": 24}


@dataclass(frozen=True)
class Setup:
    """One engine. `args`: SGLang server arguments; `env`: what its processes see."""

    family: str = "qwen3"
    args: dict = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    always: bool = False
    """In `make test`; the others only in `make test-full`."""

    @property
    def overlap(self) -> bool:
        return not self.args.get("disable_overlap_schedule", False)

    @property
    def retracts(self) -> bool:
        return "SGLANG_TEST_RETRACT" in self.env


SETUPS: dict[str, Setup] = {
    "default": Setup(always=True),
    "no-overlap": Setup(
        args={"disable_overlap_schedule": True, "chunked_prefill_size": 8}, always=True
    ),
    "mixed-chunk": Setup(args={"chunked_prefill_size": 8, "enable_mixed_chunk": True}),
    "retract": Setup(env=RETRACT, always=True),
    "retract-no-radix": Setup(
        args={"disable_radix_cache": True, "chunked_prefill_size": 8, "enable_mixed_chunk": True},
        env=RETRACT,
        always=True,
    ),
    "retract-no-overlap": Setup(args={"disable_overlap_schedule": True}, env=RETRACT),
    "tp2": Setup(
        args={"tp_size": 2},
        env=RETRACT | {"SGLANG_CPU_OMP_THREADS_BIND": "0|1"},
        always=True,
    ),
    "llama": Setup("llama", env=RETRACT),
    "qwen2": Setup("qwen2", env=RETRACT),
    "gemma": Setup("gemma", env=RETRACT, always=True),
    "moe": Setup("qwen3_moe", env=RETRACT),
}


class EngineUnderTest:
    """A running engine and what the oracle needs to know of it."""

    def __init__(self, setup: Setup, path: Path) -> None:
        import sglang

        self.setup = setup
        self.path = path
        with _environment(setup.env):
            self.engine = sglang.Engine(
                model_path=str(path), random_seed=1, log_level="warning", **(SMALL | setup.args)
            )
        self.tokenizer = self.engine.tokenizer_manager.tokenizer

    @cached_property
    def hf_model(self):
        return tiny.load(self.path)[0]

    def token_id(self, token: str) -> int:
        return self.tokenizer.convert_tokens_to_ids(token)

    def generate(self, prompts: list[list[int]], sampling: list[dict], **kwargs) -> list[dict]:
        return self.engine.generate(input_ids=prompts, sampling_params=sampling, **kwargs)

    def flush(self) -> None:
        self.engine.flush_cache()

    def shutdown(self) -> None:
        self.engine.shutdown()


@contextmanager
def _environment(env: dict[str, str]):
    before = {key: os.environ.get(key) for key in env}
    os.environ.update(env)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key)
            else:
                os.environ[key] = value
