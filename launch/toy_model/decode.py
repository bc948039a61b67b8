"""A plain decoding loop for measuring: greedy, sampled and soft thinking, each with or without Cold
Stop.

It shares no code with the plugin, so it is an independent check on it.
Shapes: B rows, L prompt length, V vocabulary, D hidden size, K concept size.
"""

from dataclasses import dataclass

import torch
from transformers import DynamicCache, Qwen3ForCausalLM

METHODS = ("greedy", "sampled", "soft")
TEMPERATURE, TOP_K, TOP_P, MIN_P, CONCEPT_SIZE = 0.6, 30, 0.95, 0.001, 10


@dataclass(frozen=True, slots=True)
class ColdStop:
    """Force the think-end token after `patience` thinking steps in a row with an entropy below
    `tau` nats."""

    tau: float
    patience: int


@dataclass(slots=True)
class Decoded:
    """One row's result. Entropies are those of thinking steps, in nats, at the decoding
    temperature."""

    thinking: list[int]
    answer: list[int]
    entropies: list[float]
    stopped: bool
    """Whether Cold Stop ended the thinking."""


def filtered(probs: torch.Tensor) -> torch.Tensor:
    """Top-k, then top-p, then min-p of `probs` `[B, V]`, each renormalised."""
    values, order = probs.topk(TOP_K, dim=-1)
    values = values / values.sum(-1, keepdim=True)
    values = values * (values.cumsum(-1) - values < TOP_P)
    values = values / values.sum(-1, keepdim=True)
    values = values * (values >= MIN_P * values[:, :1])
    return torch.zeros_like(probs).scatter(-1, order, values / values.sum(-1, keepdim=True))


def soft_embedding(probs: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
    """Weighted mixture of the K most probable rows of `embedding` `[V, D]`; returns `[B, D]`."""
    weights, ids = probs.topk(CONCEPT_SIZE, dim=-1)
    weights = weights / weights.sum(-1, keepdim=True)
    return (weights.unsqueeze(-1) * embedding[ids]).sum(1)


@torch.inference_mode()
def decode(
    model: Qwen3ForCausalLM,
    prompts: torch.Tensor,
    method: str,
    *,
    think_end: int,
    end: int,
    cold_stop: ColdStop | None = None,
    generator: torch.Generator | None = None,
    limit: int = 256,
) -> list[Decoded]:
    """Decode `prompts`, int64 `[B, L]` without padding, that end inside an open think block.

    "greedy" takes the most probable token throughout; "sampled" and "soft" sample the answer, and
    "soft" feeds mixtures while it thinks. The output token of a soft step is the most probable
    one; when that is the think-end token, thinking ends.
    """
    embedding = model.get_input_embeddings().weight
    rows = prompts.shape[0]
    cache, inputs = DynamicCache(config=model.config), embedding[prompts]
    thinking = torch.ones(rows, dtype=torch.bool, device=prompts.device)
    finished, stopped = ~thinking, ~thinking
    low = torch.zeros(rows, dtype=torch.long, device=prompts.device)
    steps: list[tuple[torch.Tensor, ...]] = []
    for _ in range(limit):
        output = model(
            inputs_embeds=inputs, past_key_values=cache, use_cache=True, logits_to_keep=1
        )
        logits = output.logits[:, -1]
        probs = (logits / TEMPERATURE).softmax(-1)
        entropy = torch.special.entr(probs).sum(-1)
        likely = filtered(probs)
        tokens = logits.argmax(-1)
        if method != "greedy":
            drawn = torch.multinomial(likely, 1, generator=generator).squeeze(1)
            tokens = torch.where(thinking, tokens, drawn) if method == "soft" else drawn
        if cold_stop:
            low = torch.where(entropy < cold_stop.tau, low + 1, 0)
            forced = thinking & (low >= cold_stop.patience) & (tokens != think_end)
            tokens, stopped = torch.where(forced, think_end, tokens), stopped | forced
        steps.append((tokens, entropy, thinking, finished))
        thinking = thinking & (tokens != think_end)
        finished = finished | (tokens == end)
        if finished.all():
            break
        inputs = embedding[tokens]
        if method == "soft":
            inputs = torch.where(thinking.unsqueeze(-1), soft_embedding(likely, embedding), inputs)
        inputs = inputs.unsqueeze(1)
    return _collect(steps, stopped, think_end, end)


def _collect(
    steps: list[tuple[torch.Tensor, ...]], stopped: torch.Tensor, think_end: int, end: int
) -> list[Decoded]:
    stacked = (torch.stack(series, dim=1).tolist() for series in zip(*steps, strict=True))
    tokens, entropies, thinking, finished = stacked
    results = []
    for row in range(len(tokens)):
        result = Decoded([], [], [], bool(stopped[row]))
        for token, entropy, inside, over in zip(
            tokens[row], entropies[row], thinking[row], finished[row], strict=True
        ):
            if over:
                break
            if inside:
                result.entropies.append(entropy)
            if token not in (think_end, end):
                (result.thinking if inside else result.answer).append(token)
        results.append(result)
    return results
