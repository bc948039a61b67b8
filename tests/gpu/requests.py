"""Requests of the engine tests on a GPU, to the bundled model: its head size of 64 is one that
FlashInfer has."""

from typing import Any, NamedTuple

from sglang_soft.launch_server import BUNDLED_MODEL as MODEL
from tests.oracle import Request

__all__ = ["CASES", "GREEDY", "MODEL", "SAMPLED", "Case", "prompt_ids", "soft_params"]

PROMPT = "<|im_start|>user\nWhat is {}?<|im_end|>\n<|im_start|>assistant\n<think>\n"
SOFT = {"temperature": 0.6, "top_p": 0.95, "top_k": 30, "min_p": 0.001, "max_topk": 10}
TOKENS = 96


def prompt_ids(tokenizer, question: str = "43*34") -> list[int]:
    return tokenizer.encode(PROMPT.format(question), add_special_tokens=False)


def soft_params(tokens: int, **soft: Any) -> dict[str, Any]:
    """Greedy outside the thinking, and of one length, so that all requests stay in the batch."""
    custom = {"soft_thinking": soft | {"return_concepts": True}}
    return {
        "temperature": 0.0, "max_new_tokens": tokens, "ignore_eos": True, "custom_params": custom,
    }  # fmt: skip


class Case(NamedTuple):
    question: str
    soft: bool = True
    temperature: float = 0.0
    """Of the discrete tokens; above 0 they are drawn, and their logprobs returned."""
    top_k: int = 20

    @property
    def sampled(self) -> bool:
        return self.temperature > 0

    def sampling(self) -> dict[str, Any]:
        params = soft_params(TOKENS, **SOFT)
        if not self.soft:
            del params["custom_params"]
        if self.sampled:
            params |= {"temperature": self.temperature, "top_k": self.top_k}
        return params

    def request(self, tokenizer) -> Request:
        """The same for the oracle."""
        start, end = tokenizer.convert_tokens_to_ids(["<think>", "</think>"])
        method = "soft" if self.soft else "hard"
        return Request(
            think_start_id=start, think_end_id=end, method=method, max_new_tokens=TOKENS, **SOFT
        )


# Seven requests: a graph of eight rows is replayed, with one padding row. The sampled one has the
# sampler draw (with greedy rows alone it takes argmax). A soft one is last: of requests that are
# equally long, SGLang retracts the last.
CASES = (
    Case("43*34"),
    Case("17+58"),
    Case("62+39"),
    Case("43*34", soft=False),
    Case("81*19", soft=False),
    Case("77*77", soft=False, temperature=0.8),
    Case("96*71"),
)
GREEDY = tuple(i for i, case in enumerate(CASES) if not case.sampled)
(SAMPLED,) = (i for i, case in enumerate(CASES) if case.sampled)
