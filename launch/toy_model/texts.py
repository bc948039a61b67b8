"""Training texts as token ids with a loss mask, packed into batches of nearly equal length."""

import random
from dataclasses import dataclass, field

import torch
from transformers import PreTrainedTokenizerFast

from .task import draw_problem, draw_question, draw_thinking
from .tokenizer import THINK_END

SYSTEM_MESSAGES = (
    "You are a helpful assistant.",
    "You are a careful calculator.",
    "Answer the question.",
    "",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextOptions:
    """What the texts of a stage of training are; a number is the share of texts that have the
    property."""

    shares: dict[str, float] = field(
        default_factory=lambda: {"product": 0.6, "sum": 0.3, "drill": 0.1}
    )
    """Weights of the kinds of problems."""
    checks: bool = True
    """Whether the thinking holds the checks, which are long and teach no arithmetic."""
    cut: float = 0.15
    """Stopped inside the checks by a think-end token that carries no loss: what a forced stop looks
    like."""
    system: float = 0.15
    """With a system message."""
    second_turn: float = 0.04
    """With an earlier question and its answer before the question."""


def draw_text(
    rng: random.Random, tokenizer: PreTrainedTokenizerFast, kind: str, options: TextOptions
) -> tuple[list[int], int, int]:
    """(ids, first position with loss, position of a think-end without loss or -1)."""
    problem = draw_problem(rng, kind)
    messages = []
    if rng.random() < options.system:
        messages.append({"role": "system", "content": rng.choice(SYSTEM_MESSAGES)})
    if rng.random() < options.second_turn:
        earlier = draw_problem(rng, kind)
        messages.append({"role": "user", "content": draw_question(rng, earlier)})
        messages.append({"role": "assistant", "content": f"Answer: {earlier.answer}"})
    messages.append({"role": "user", "content": draw_question(rng, problem)})
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    working, checks = draw_thinking(rng, problem)
    checks = checks if options.checks else ""
    before, thinking, repeated, answer = (
        encoding.ids
        for encoding in tokenizer.backend_tokenizer.encode_batch(
            [prompt, working, checks, f"{THINK_END}\nAnswer: {problem.answer}{tokenizer.eos_token}"]
        )
    )
    masked = -1
    if repeated and rng.random() < options.cut:
        repeated = repeated[: rng.randrange(len(repeated))]
        masked = len(before) + len(thinking) + len(repeated)
    return before + thinking + repeated + answer, len(before), masked


def draw_batches(
    rng: random.Random,
    tokenizer: PreTrainedTokenizerFast,
    options: TextOptions,
    *,
    batches: int,
    tokens: int,
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """`batches` pairs (ids, labels), int64 `[B, L]` with B * L <= `tokens`; labels are -100 where
    no loss is.

    Texts are sorted by length before they are cut into batches, so little is padded; batches are
    shuffled.
    """
    made = []
    while len(made) < batches:
        kinds = rng.choices(list(options.shares), list(options.shares.values()), k=2048)
        texts = [draw_text(rng, tokenizer, kind, options) for kind in kinds]
        texts.sort(key=lambda text: len(text[0]))
        pool = []
        while texts:
            size = max(1, min(len(texts), tokens // len(texts[-1][0])))
            pool.append([texts.pop() for _ in range(size)])
        rng.shuffle(pool)
        made += [_pad(batch, tokenizer.pad_token_id) for batch in pool]
    return made[:batches]


def _pad(
    texts: list[tuple[list[int], int, int]], pad_token_id: int
) -> tuple[torch.Tensor, torch.Tensor]:
    length = len(texts[0][0])
    ids = torch.full((len(texts), length), pad_token_id)
    labels = torch.full((len(texts), length), -100)
    for row, (text, start, masked) in enumerate(texts):
        ids[row, : len(text)] = torch.tensor(text)
        labels[row, start : len(text)] = ids[row, start : len(text)]
        if masked >= 0:
            labels[row, masked] = -100
    return ids, labels
