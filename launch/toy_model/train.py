"""Train the bundled model from scratch and write it as a checkpoint that transformers and SGLang
load.

    make model          or: python -m launch.toy_model

reproduces the shipped weights (seed 0, float32, one CPU thread; other hardware rounds differently).
A GPU is used where there is one. To compare: `--out FOLDER` with `--seed 1`, or with `--cut 0` for
a model that never saw its thinking stopped.
"""

import argparse
import random
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch.nn import functional
from transformers import Qwen3ForCausalLM

from .checkpoint import CONTEXT, build_model, save
from .muon import Muon
from .texts import TextOptions, draw_batches
from .tokenizer import build_tokenizer

CURRICULUM = {
    0.0: TextOptions(shares={"drill": 0.7, "product": 0.15, "sum": 0.15}, checks=False),
    0.12: TextOptions(checks=False),
    0.55: TextOptions(),
}
"""The texts from a fraction of the steps on: first single steps, then whole workings, then checks
as well."""
SHIPPED = Path(__file__).parents[2] / "sglang_soft" / "bundled"
POOL = 100
"""Batches drawn at a time; they are sorted by length, so a pool that is too small pads more."""


def build_optimizers(model: Qwen3ForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for the embedding and the norms."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    return [
        Muon(matrices, lr=0.0, weight_decay=0.05),
        torch.optim.AdamW(others, lr=0.0, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


def learning_rate(
    step: int, steps: int, peak: float = 5e-3, warm_up: int = 80, decay: float = 0.5
) -> float:
    """Linear warm-up, constant, then linear to 2% over the last `decay` of the steps."""
    left = (steps - step) / (decay * steps)
    return peak * min((step + 1) / warm_up, 1.0, max(0.02, left))


def batch_loss(model: Qwen3ForCausalLM, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy where `labels` is not -100. Both are int64 `[B, L]`, padded on the
    right."""
    hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    kept = labels[:, 1:] >= 0
    return functional.cross_entropy(model.lm_head(hidden[kept]), labels[:, 1:][kept])


def train(*, seed: int, steps: int, tokens: int, cut: float, device: str) -> Qwen3ForCausalLM:
    """`steps` steps of at most `tokens` tokens each; `cut` is the share of texts cut inside the
    checks."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    tokenizer = build_tokenizer(CONTEXT)
    model = build_model(tokenizer).to(device)
    optimizers = build_optimizers(model)
    print(f"{sum(p.numel() for p in model.parameters())} parameters on {device}", flush=True)
    started, seen, losses, batches = time.monotonic(), 0, [], []
    for step in range(steps):
        if not batches:
            options = [options for start, options in CURRICULUM.items() if step >= start * steps][
                -1
            ]
            options = replace(options, cut=cut)
            batches = draw_batches(rng, tokenizer, options, batches=POOL, tokens=tokens)
        ids, labels = (tensor.to(device) for tensor in batches.pop())
        loss = batch_loss(model, ids, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps)
            optimizer.step()
            optimizer.zero_grad()
        seen += ids.numel()
        losses.append(loss.detach())
        if (step + 1) % POOL == 0:
            minutes, recent = (
                (time.monotonic() - started) / 60,
                torch.stack(losses[-POOL:]).mean().item(),
            )
            print(
                f"step {step + 1} tokens {seen} loss {recent:.4f} minutes {minutes:.1f}", flush=True
            )
    return model


def main() -> Path:
    """Train as the command line says; returns the folder of the checkpoint."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=SHIPPED, help="folder of the checkpoint")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--tokens", type=int, default=2048, help="tokens of a batch")
    parser.add_argument(
        "--cut", type=float, default=TextOptions().cut, help="share of texts cut inside the checks"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = train(
        seed=arguments.seed,
        steps=arguments.steps,
        tokens=arguments.tokens,
        cut=arguments.cut,
        device=arguments.device,
    )
    save(model, arguments.out)
    return arguments.out
