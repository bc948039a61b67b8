"""What `gpu` runs on this machine: which batch sizes fit, with which engine, asked what."""

import random
from pathlib import Path
from typing import Any, NamedTuple

from launch.bench.hardware import gpus
from launch.bench.requests import SHORT
from launch.bench.shapes import SHAPES, THINK_START

PROMPT_TOKENS = 32
SPARE_TOKENS = 4096
"""Of the KV cache, so that SGLang never has to hold a request back."""
ROOM_GIB = 8
"""Of one engine besides weights and cache: CUDA context, graphs, activations, logits."""


class Plan(NamedTuple):
    """One model on this machine."""

    model: str
    batches: list[int]
    tokens: int
    """Output tokens of the long run, beyond those of the short one."""
    device: str
    together: bool
    """Memory holds both engines at once."""
    left_out: list[int]
    """Batch sizes that this machine's memory does not hold."""
    attention_backend: str = "flashinfer"

    @property
    def cache_tokens(self) -> int:
        """Of the largest batch at its full length, with room to spare."""
        return max(self.batches, default=0) * (PROMPT_TOKENS + SHORT + self.tokens) + SPARE_TOKENS

    def engine(self, path: Path) -> dict[str, Any]:
        """Arguments of the engine. The cache gets what is needed, so that a second engine finds
        room. Prefill is not measured, so its CUDA graphs are not captured."""
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
            "attention_backend": self.attention_backend,
            "cuda_graph_max_bs_decode": largest,
            "disable_prefill_cuda_graph": True,
            "mem_fraction_static": 0.9,
        }
        return arguments | cuda


def make_plan(
    model: str, batches: list[int], tokens: int, device: str, attention_backend: str = "flashinfer"
) -> Plan:
    """Leave out what does not fit the first GPU. Without a GPU (a dry run, a CPU) all of it is
    planned."""
    cards = gpus()
    plan = Plan(model, batches, tokens, device, True, [], attention_backend)
    if model not in SHAPES or not cards:
        return plan
    memory, shape = cards[0][1] / 1024, SHAPES[model]

    def needed(batch: int) -> float:
        tokens = plan._replace(batches=[batch]).cache_tokens
        return shape.weight_gib + shape.cache_gib(tokens) + ROOM_GIB

    fitting = [batch for batch in batches if needed(batch) < memory]
    together = bool(fitting) and 2 * needed(max(fitting)) < memory
    left_out = [batch for batch in batches if batch not in fitting]
    return plan._replace(batches=fitting, together=together, left_out=left_out)


def prompts(batch: int) -> dict[str, list[list[int]]]:
    """Prompts end in think-start; their other ids are text in every vocabulary."""
    draw = random.Random(batch)
    words = [draw.choices(range(6, 128), k=PROMPT_TOKENS - 1) for _ in range(batch)]
    return {"input_ids": [[*ids, THINK_START] for ids in words]}
