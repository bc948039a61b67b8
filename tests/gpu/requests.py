"""Requests of the engine tests on a GPU, to the bundled model: its head size of 64 is one that
FlashInfer has."""

from typing import Any, NamedTuple

from sglang_soft.launch_server import BUNDLED_MODEL as MODEL
from tests.oracle import Request

__all__ = ["CASES", "MODEL", "Case"]

PROMPT = "<|im_start|>user\nWhat is {}?<|im_end|>\n<|im_start|>assistant\n<think>\n"
SOFT = {"temperature": 0.6, "top_p": 0.95, "top_k": 30, "min_p": 0.001, "max_topk": 10}
TOKENS = 96


class Case(NamedTuple):
    question: str
    soft: bool = True

    def prompt_ids(self, tokenizer) -> list[int]:
        return tokenizer.encode(PROMPT.format(self.question), add_special_tokens=False)

    def sampling(self) -> dict[str, Any]:
        """Greedy outside the thinking, and of one length, so that all requests stay in the
        batch."""
        params: dict[str, Any] = {"temperature": 0.0, "max_new_tokens": TOKENS, "ignore_eos": True}
        if self.soft:
            params["custom_params"] = {"soft_thinking": SOFT | {"return_concepts": True}}
        return params

    def request(self, tokenizer) -> Request:
        """The same for the oracle."""
        start, end = tokenizer.convert_tokens_to_ids(["<think>", "</think>"])
        method = "soft" if self.soft else "hard"
        return Request(
            think_start_id=start, think_end_id=end, method=method, max_new_tokens=TOKENS, **SOFT
        )


CASES = (
    Case("43*34"),
    Case("17+58"),
    Case("96*71"),
    Case("25*88"),
    Case("62+39"),
    Case("43*34", soft=False),
    Case("81*19", soft=False),
    Case("77*77", soft=False),
)
