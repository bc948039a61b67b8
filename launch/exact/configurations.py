"""What is compared: ways to think, models and their prompts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launch import BUNDLED_MODEL, real_model
from sglang_soft import methods
from sglang_soft.params import RequestParams, Sampling

SAMPLING = Sampling(temperature=0.6, top_p=0.95, top_k=30, min_p=0.0)
"""Where a method has no default of its own."""
MAX_NEW_TOKENS = 2048
"""Of the requests. Two methods' blends depend on it; no thought here is as long."""
GREEDY, DRAWN, SOFT = "discrete, greedy", "discrete, drawn", "soft"
BITS = (12, 8, 6, 4)


@dataclass(frozen=True)
class Configuration:
    """A method and the parameters that are not its defaults."""

    name: str
    method: str
    params: Mapping[str, Any] = field(default_factory=dict)

    def request(self, tokenizer: Any, vocabulary: int, seed: int) -> RequestParams:
        """Its request; the first output token is one of the thought."""
        method = methods.get(self.method)
        params = method.complete(method.Params(**self.params), tokenizer, vocabulary)
        start, end = tokenizer.convert_tokens_to_ids(["<think>", "</think>"])
        return RequestParams(
            params=params, thinking=SAMPLING.given(params), seed=seed, starts_thinking=True,
            max_new_tokens=MAX_NEW_TOKENS, think_start=(start,), think_end=(end,),
        )  # fmt: skip


def grid(bits: int, method: str = SOFT) -> Configuration:
    return Configuration(f"{method}, {bits} bits", method, {"weight_bits": bits})


def configurations() -> list[Configuration]:
    """Discrete, soft, soft on grids, then the other methods with their defaults."""
    others = [n for n in methods.names() if n not in (SOFT, "cot")]
    return [
        Configuration(GREEDY, "cot", {"temperature": 0.0}),
        Configuration(DRAWN, "cot"),
        Configuration(SOFT, SOFT),
        *(grid(bits) for bits in BITS),
        *(Configuration(name, name) for name in others),
        grid(8, "soft_gumbel"),
    ]


ROUNDED = (GREEDY, DRAWN, SOFT, *(grid(bits).name for bits in BITS))
"""Names of those that are run in other precisions as well."""

PROMPTS = {
    "toy": tuple(
        f"What is {a}*{b}?"
        for a, b in ((43, 34), (12, 7), (58, 21), (9, 64), (77, 13), (35, 46), (81, 5), (29, 92))
    ),
    "smollm2": (
        "What is 43*34?", "Why is the sky blue?", "Name three rivers.", "Is 91 a prime?",
        "A train leaves at noon at 40 km/h. When has it gone 100 km?",
        "Write a sentence about autumn.", "How does a bicycle stay upright?",
        "Which is larger, 9.11 or 9.9?",
    ),
}  # fmt: skip
"""By model."""


def path(model: str) -> Path:
    return BUNDLED_MODEL if model == "toy" else real_model.path()
