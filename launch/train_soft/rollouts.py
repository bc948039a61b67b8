"""Questions, and a server that answers them in groups of samples, with what training needs."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import requests

from launch.toy_model.task import Problem
from sglang_soft.trace import Trace

THOUGHT = {
    "temperature": 1.0, "top_p": 1.0, "top_k": -1, "min_p": 0.0,
    "cold_stop_entropy": 0.2, "cold_stop_steps": 12, "max_thinking_tokens": 80,
}  # fmt: skip
"""Tokens are drawn from everything, so that what is drawn is the policy's own distribution. Cold
Stop and the bound force an end, which counts as no action."""
METHODS: dict[str, dict[str, Any]] = {
    "multiplex": {"method": "multiplex", "max_topk": 3},
    "cot": {"method": "cot"},
    "soft_gumbel": {"method": "soft_gumbel", "max_topk": 5, "min_p": 0.02},
}
"""`min_p`: the gradient of a log-density of weights is noise of one size for every candidate, also
for those that hardly count, so they are left out."""
ANSWER = {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "max_new_tokens": 112}


class Sample(NamedTuple):
    trace: Trace
    reward: float
    """1: the last number of the answer is the right one; else 0."""


class Client:
    """A server of the toy model."""

    def __init__(self, url: str, tokenizer: Any, method: str) -> None:
        self.url, self._tokenizer, self._method = url, tokenizer, method
        self._session = requests.Session()
        self._session.trust_env = False

    def samples(self, problems: Sequence[Problem], group: int, seed: int) -> list[list[Sample]]:
        """`group` samples of each problem. Seeds are counted from `seed`, so that a run can be
        repeated."""
        prompts = [self._prompt(p) for p in problems for _ in range(group)]
        soft = THOUGHT | METHODS[self._method] | {"return_rollout": True}
        sampling = [
            ANSWER | {"sampling_seed": seed + i, "custom_params": {"soft_thinking": soft}}
            for i in range(len(prompts))
        ]
        outs = self._post("generate", {"input_ids": prompts, "sampling_params": sampling})
        flat = [
            Sample(
                Trace.from_json(out["meta_info"]["soft_thinking"]["trace"]),
                self._reward(problems[i // group], out["output_ids"]),
            )
            for i, out in enumerate(outs)
        ]
        return [flat[i : i + group] for i in range(0, len(flat), group)]

    def update(self, folder: str, version: str) -> None:
        """Load the weights of a folder into the running server; it forgets the KV of the old."""
        body = {"model_path": folder, "weight_version": version}
        answer = self._post("update_weights_from_disk", body)
        if not answer["success"]:
            raise RuntimeError(answer["message"])

    def _post(self, path: str, body: dict) -> Any:
        response = self._session.post(f"{self.url}/{path}", json=body, timeout=600)
        response.raise_for_status()
        return response.json()

    def _prompt(self, problem: Problem) -> list[int]:
        messages = [{"role": "user", "content": f"What is {problem.expression}?"}]
        return self._tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=False
        )

    def _reward(self, problem: Problem, output_ids: list[int]) -> float:
        _, found, answer = self._tokenizer.decode(output_ids).partition("</think>")
        numbers = re.findall(r"\d+", answer)
        return float(bool(found and numbers) and int(numbers[-1]) == problem.answer)
