"""Decode problems with a checkpoint and score the results."""

import random
import re
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from .decode import ColdStop, Decoded, decode
from .task import Problem, draw_problem
from .tokenizer import THINK_END


class Scorer:
    """A checkpoint in float32 with its tokenizer."""

    def __init__(self, folder: Path, device: str) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = (
            AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).to(device).eval()
        )
        self.device = device
        self.think_end = self.tokenizer.convert_tokens_to_ids(THINK_END)

    def run(
        self,
        problems: list[Problem],
        method: str,
        cold_stop: ColdStop | None = None,
        samples: int = 1,
    ) -> list[list[Decoded]]:
        """`samples` results for each problem; problems whose prompts have one length are decoded
        together."""
        generator = torch.Generator(self.device).manual_seed(0)
        groups = defaultdict(list)
        for index, problem in enumerate(problems):
            ids = self.prompt(f"What is {problem.expression}?")
            groups[len(ids)] += [(index, ids)] * samples
        results = [[] for _ in problems]
        for group in groups.values():
            decoded = decode(
                self.model,
                torch.tensor([ids for _, ids in group], device=self.device),
                method,
                think_end=self.think_end,
                end=self.tokenizer.eos_token_id,
                cold_stop=cold_stop,
                generator=generator,
            )
            for (index, _), result in zip(group, decoded, strict=True):
                results[index].append(result)
        return results

    def prompt(self, question: str) -> list[int]:
        messages = [{"role": "user", "content": question}]
        return self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=False
        )

    def is_correct(self, problem: Problem, result: Decoded) -> bool:
        """Whether the last number of the answer is the right one."""
        numbers = re.findall(r"\d+", self.tokenizer.decode(result.answer))
        return bool(numbers) and int(numbers[-1]) == problem.answer

    def score(self, problems: list[Problem], results: list[list[Decoded]]) -> dict[str, float]:
        """Accuracy in percent and thinking tokens, with half-widths of 95% intervals over
        problems."""
        right = [
            100 * mean(self.is_correct(problem, result) for result in group)
            for problem, group in zip(problems, results, strict=True)
        ]
        length = [mean(len(result.thinking) for result in group) for group in results]
        everything = [result for group in results for result in group]
        return {
            "accuracy": mean(right),
            "accuracy_half_width": 1.96 * stdev(right) / len(right) ** 0.5,
            "thinking_tokens": mean(length),
            "thinking_tokens_half_width": 1.96 * stdev(length) / len(length) ** 0.5,
            "stopped": 100 * mean(result.stopped for result in everything),
            "unfinished": 100 * mean(not result.answer for result in everything),
        }


def draw_problems(split: str, counts: dict[str, int], seed: int) -> list[Problem]:
    """Distinct problems of `split`, in a fixed order."""
    rng = random.Random(seed)
    problems: dict[Problem, None] = {}
    for kind, count in counts.items():
        target = len(problems) + count
        while len(problems) < target:
            problems[draw_problem(rng, kind, split)] = None
    return list(problems)
