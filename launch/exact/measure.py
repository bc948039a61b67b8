"""Two runs of the same thoughts, step by step: how far apart are their logits, and their tokens?

Shapes: R pairs of rows, V vocabulary, H hidden size.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from launch.exact.configurations import ROUNDED, Configuration
from launch.exact.loop import Thoughts, widen

SIZE = 1e-6
"""Of the disturbance, relative to the norm of the input embedding that it is added to."""
SEED = 20
"""Of its direction, the same one for every row."""
LARGE = 1e-3
"""A relative difference of the logits from which two runs count as parted."""
AT_ONCE = 6
"""Configurations in one batch: bounds the memory."""


@dataclass
class Parting:
    """Of one configuration: two runs of each prompt."""

    errors: list[list[float]] = field(default_factory=list)
    """[prompts, steps + 1] relative differences of the logits after each step."""
    tokens: list[int | None] = field(default_factory=list)
    """[prompts] the first thinking step that emits another token; None: none does."""

    @property
    def beyond(self) -> list[int | None]:
        """[prompts] the first step after which the logits differ by more than LARGE."""
        return [next((n for n, e in enumerate(row) if e > LARGE), None) for row in self.errors]


@dataclass
class Measured:
    """Of one model, by the name of the configuration."""

    disturbed: dict[str, Parting] = field(default_factory=dict)
    """Against a run with one disturbed input."""
    rounded: dict[str, dict[str, Parting]] = field(default_factory=dict)
    """By dtype: against a run in that precision."""
    seconds: float = 0.0


class Pairs:
    """Collects the differences of R pairs."""

    def __init__(self) -> None:
        self._errors: list[torch.Tensor] = []
        self._tokens: list[torch.Tensor] = []

    def add_logits(self, a: torch.Tensor, b: torch.Tensor) -> None:
        """[R, V] each; b is measured against a."""
        self._errors.append(relative_difference(a, b))

    def add_tokens(self, a: torch.Tensor, b: torch.Tensor) -> None:
        """[R] each."""
        self._tokens.append(a != b)

    def partings(self, prompts: int) -> Iterator[Parting]:
        """One a configuration; its prompts lie together."""
        other = torch.stack(self._tokens, 1)
        steps = [row.nonzero()[:, 0].tolist() for row in other]
        tokens = [found[0] if found else None for found in steps]
        errors = torch.stack(self._errors, 1).tolist()
        for first in range(0, len(tokens), prompts):
            part = slice(first, first + prompts)
            yield Parting(errors[part], tokens[part])


def relative_difference(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """|a - b| / |a| of centred logits, [R]: a constant that is added to all changes nothing."""
    a, b = (x.double() - x.double().mean(1, keepdim=True) for x in (a, b))
    return (a - b).norm(dim=1) / a.norm(dim=1)


def disturb(inputs: torch.Tensor) -> torch.Tensor:
    """[R, H] inputs, each with SIZE times its norm added in one direction."""
    generator = torch.Generator().manual_seed(SEED)
    direction = torch.randn(inputs.shape[1], generator=generator, dtype=torch.float64)
    direction = (direction / direction.norm()).to(inputs.dtype)
    return inputs + SIZE * inputs.norm(dim=1, keepdim=True) * direction


@torch.inference_mode()
def measure(
    path: Path, configurations: Sequence[Configuration], questions: Sequence[str], steps: int,
    dtypes: Sequence[str],
) -> Measured:  # fmt: skip
    """Run all configurations on all questions. dtypes: other precisions for those of ROUNDED."""
    began = time.perf_counter()
    tokenizer = AutoTokenizer.from_pretrained(path)
    models = {
        name: AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, name)).eval()
        for name in ("float64", *dtypes)
    }
    widen(models["float64"])
    prompts = [_prompt(tokenizer, q) for q in questions]
    measured = Measured(rounded={name: {} for name in dtypes})
    for first in range(0, len(configurations), AT_ONCE):
        group = configurations[first : first + AT_ONCE]
        _measure_group(models, tokenizer, prompts, group, steps, measured)
        done = min(first + AT_ONCE, len(configurations))
        passed = time.perf_counter() - began
        print(f"{done} of {len(configurations)} after {passed:.0f} s", file=sys.stderr, flush=True)
    measured.seconds = time.perf_counter() - began
    return measured


def _prompt(tokenizer: Any, question: str) -> list[int]:
    messages = [{"role": "user", "content": question}]
    return tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)[
        "input_ids"
    ]


def ends(model: Any, tokenizer: Any) -> set[int]:
    """Tokens that would end the thought."""
    eos = model.generation_config.eos_token_id
    listed = eos if isinstance(eos, list) else [eos]
    think_end = tokenizer.convert_tokens_to_ids("</think>")
    return {think_end, tokenizer.eos_token_id, *listed} - {None}


def _measure_group(
    models: dict[str, Any], tokenizer: Any, prompts: list[list[int]],
    group: Sequence[Configuration], steps: int, measured: Measured,
) -> None:  # fmt: skip
    """Add a group's partings. Rows by configuration, then prompt; the disturbed ones come last."""
    reference = models["float64"]
    banned, vocabulary = ends(reference, tokenizer), reference.config.vocab_size

    def thoughts(model: Any, chosen: Sequence[Configuration], times: int) -> Thoughts:
        which = [(c, p) for c in chosen for p in range(len(prompts))] * times
        requests = [c.request(tokenizer, vocabulary, seed=p) for c, p in which]
        rows = [p for _, p in which]
        return Thoughts(model, tokenizer, prompts, rows, requests, banned, steps + 1)

    pairs = Pairs()
    exact = thoughts(reference, group, 2)
    half = len(group) * len(prompts)
    also = [c for c in group if c.name in ROUNDED]
    same = [i for i, c in enumerate(group) if c in also]
    kept = torch.tensor([i * len(prompts) + p for i in same for p in range(len(prompts))])
    rounded = {
        name: (thoughts(model, also, 1), Pairs())
        for name, model in models.items()
        if also and model is not reference
    }
    for step in range(steps + 1):
        tokens, inputs = exact.think()
        pairs.add_tokens(tokens[:half], tokens[half:])
        fed = {}
        for name, (other, apart) in rounded.items():
            theirs, fed[name] = other.think()
            apart.add_tokens(tokens[kept], theirs)
        if step == 0:
            inputs = torch.cat([inputs[:half], disturb(inputs[half:])])
        exact.feed(inputs)
        pairs.add_logits(exact.logits[:half], exact.logits[half:])
        for name, (other, apart) in rounded.items():
            other.feed(fed[name])
            apart.add_logits(exact.logits[kept], other.logits)
    names = [c.name for c in group]
    measured.disturbed |= zip(names, pairs.partings(len(prompts)), strict=True)
    for name, (_, apart) in rounded.items():
        found = zip([c.name for c in also], apart.partings(len(prompts)), strict=True)
        measured.rounded[name] |= found
