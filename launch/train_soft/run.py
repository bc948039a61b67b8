"""The loop: roll out, learn, save, load into the running server; and what is measured of it."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from sglang_soft_evals.statistics import Estimate, mean_estimate
from transformers import AutoModelForCausalLM, AutoTokenizer

from launch.toy_model.scoring import draw_problems
from launch.toy_model.task import Problem, draw_problem
from launch.train_soft.learn import Learned, learn
from launch.train_soft.rollouts import Client
from sglang_soft.launch_server import BUNDLED_MODEL


@dataclass(frozen=True)
class Plan:
    method: str
    """Method of the thought, of METHODS."""
    steps: int
    questions: int = 24
    """Of a step, new ones each time."""
    group: int = 8
    """Samples of a question."""
    rate: float = 3e-4
    held_out: int = 200
    """Questions of an evaluation: the test split, which training never draws from."""
    samples: int = 2
    """Of a held-out question."""
    every: int = 9
    """Steps between evaluations."""
    seed: int = 0


@dataclass
class Found:
    """What a run measured."""

    curve: dict[int, list[float]] = field(default_factory=dict)
    """By step, the accuracy of each held-out question."""
    other: dict[int, list[float]] = field(default_factory=dict)
    """The same of the other method, before and after."""
    learned: list[Learned] = field(default_factory=list)
    seconds: float = 0.0

    def at(self, step: int) -> Estimate:
        """Accuracy, with a 95% interval over questions."""
        return mean_estimate(self.curve[step])


def train(plan: Plan, url: str, folder: Path, other: str | None = None) -> Found:
    """Train the bundled model on sums. url: a server of it, which has the trained weights in the
    end; folder: where checkpoints go; other: a method that is evaluated too, before and after."""
    began = time.perf_counter()
    tokenizer = AutoTokenizer.from_pretrained(BUNDLED_MODEL)
    model = AutoModelForCausalLM.from_pretrained(BUNDLED_MODEL, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.rate, weight_decay=0.0)
    client, held_out = Client(url, tokenizer, plan.method), _held_out(plan)
    others = None if other is None else Client(url, tokenizer, other)
    _load(client, model, tokenizer, folder, 0)
    found, rng = Found(), random.Random(plan.seed)

    def evaluate(step: int) -> None:
        found.curve[step] = _accuracy(client, held_out, plan)
        if others and step in (0, plan.steps):
            found.other[step] = _accuracy(others, held_out, plan)
        print(f"{plan.method}, step {step}: {found.at(step).value:.3f}", flush=True)

    evaluate(0)
    for step in range(1, plan.steps + 1):
        problems = [draw_problem(rng, "sum", "train") for _ in range(plan.questions)]
        groups = client.samples(problems, plan.group, plan.seed + 10_000 * step)
        version = {s.trace.versions["weights"] for group in groups for s in group}
        if version != {_version(step - 1)}:
            raise RuntimeError(f"roll-outs of step {step} are of the weights {version}.")
        found.learned.append(learn(model, optimizer, groups))
        _load(client, model, tokenizer, folder, step)
        if step % plan.every == 0 or step == plan.steps:
            evaluate(step)
    found.seconds = time.perf_counter() - began
    return found


def _version(step: int) -> str:
    return f"step {step}"


def _load(client: Client, model: Any, tokenizer: Any, folder: Path, step: int) -> None:
    """The trainer's weights, float32, into the server."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    client.update(str(folder), _version(step))


def _held_out(plan: Plan) -> list[Problem]:
    return draw_problems("test", {"sum": plan.held_out}, seed=2)


def _accuracy(client: Client, problems: Sequence[Problem], plan: Plan) -> list[float]:
    """Of each question. The same noise at every evaluation."""
    groups = client.samples(problems, plan.samples, 2**40 + plan.seed)
    return [sum(s.reward for s in group) / len(group) for group in groups]
