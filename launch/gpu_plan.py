"""What `bench_gpu.py` runs on this machine: which batch sizes fit, with which engine, asked
what."""

import random
from pathlib import Path
from typing import Any, NamedTuple

from hardware import gpus
from shapes import SHAPES, THINK_START

PROMPT_TOKENS = 32
SHORT = 8
"""Output tokens of the short run, which is taken off the long one."""
SPARE_TOKENS = 4096
"""Of the KV cache, so that SGLang never has to hold a request back."""
ROOM_GIB = 8
"""Of one engine beside weights and cache: CUDA context, graphs, activations, logits."""
SAMPLING = {"temperature": 0.6, "top_p": 0.95, "top_k": 30, "ignore_eos": True}


class Plan(NamedTuple):
    """One model on this machine."""

    model: str
    batches: list[int]
    tokens: int
    """Output tokens of the long run, beyond `SHORT`."""
    device: str
    together: bool
    """Memory holds both engines at once."""
    left_out: list[int]
    """Batch sizes that this machine's memory does not hold."""

    @property
    def cache_tokens(self) -> int:
        """Of the largest batch at its full length, with room to spare."""
        return max(self.batches, default=0) * (PROMPT_TOKENS + SHORT + self.tokens) + SPARE_TOKENS

    def engine(self, path: Path) -> dict[str, Any]:
        """Arguments of the engine. The cache gets what is needed, so that a second engine finds
        room."""
        largest = max(self.batches)
        arguments = {
            "model_path": str(path),
            "random_seed": 0,
            "log_level": "error",
            "disable_radix_cache": True,
            "context_length": PROMPT_TOKENS + SHORT + self.tokens + 8,
            "max_total_tokens": self.cache_tokens,
            "max_running_requests": largest,
        }
        if self.model in SHAPES:
            arguments["load_format"] = "dummy"
        if self.device == "cpu":
            return arguments | {"device": "cpu"}
        cuda = {
            "attention_backend": "flashinfer",
            "cuda_graph_max_bs_decode": largest,
            "mem_fraction_static": 0.9,
        }
        return arguments | cuda


def make_plan(model: str, batches: list[int], tokens: int, device: str) -> Plan:
    """Leave out what does not fit the first GPU. Without a GPU (a dry run, a CPU) all of it is
    planned."""
    cards = gpus()
    plan = Plan(model, batches, tokens, device, True, [])
    if model not in SHAPES or not cards:
        return plan
    memory, shape = cards[0][1] / 1024, SHAPES[model]

    def needed(batch: int) -> float:
        return (
            shape.weight_gib
            + shape.cache_gib(plan._replace(batches=[batch]).cache_tokens)
            + ROOM_GIB
        )

    fitting = [batch for batch in batches if needed(batch) < memory]
    together = bool(fitting) and 2 * needed(max(fitting)) < memory
    return plan._replace(
        batches=fitting, together=together, left_out=[b for b in batches if b not in fitting]
    )


def request(plan: Plan, batch: int, tokens: int, method: str | None) -> dict[str, Any]:
    """Arguments of `Engine.generate`; method None: hard. Prompts end in think-start; their other
    ids are text in every vocabulary."""
    draw = random.Random(batch)
    prompts = [
        [*draw.choices(range(6, 128), k=PROMPT_TOKENS - 1), THINK_START] for _ in range(batch)
    ]
    sampling: dict[str, Any] = SAMPLING | {"max_new_tokens": tokens}
    if method is not None:
        sampling["custom_params"] = {"soft_thinking": {"method": method, "min_p": 0.001}}
    return {"input_ids": prompts, "sampling_params": sampling}
