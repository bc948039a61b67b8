"""Thinking in hidden states of the norm of an embedding: LatentMAS's latent step, and LaTER without
training (one latent block).

h: what the output layer read, after the final norm. E: input embeddings, U: output layer, [V, H].
m: mean over the vocabulary of |E_v|. Everything in float64.
"""

import torch

from .candidates import Candidates, closest
from .methods import cot, step_of, with_offset
from .noise import Noise
from .request import Request
from .steps import ThinkingStep, entropy_of

STOPS = ("\n\n", "</think>", "<|endoftext|>", "<|im_end|>")


def mean_norm(model) -> float:
    """m"""
    table = model.get_input_embeddings().weight.detach().double()
    return sum(float(row.norm()) for row in table) / len(table)


def realignment(model) -> torch.Tensor:
    """W = (U^T U + 1e-5 I)^-1 U^T E, [H, H]."""
    u = model.get_output_embeddings().weight.detach().double()
    e = model.get_input_embeddings().weight.detach().double()
    return torch.linalg.inv(u.T @ u + 1e-5 * torch.eye(u.shape[1], dtype=u.dtype)) @ (u.T @ e)


class Latent:
    """What is fed in place of an embedding."""

    def __init__(self, model, realign: bool):
        self.norm = mean_norm(model)
        self.W = realignment(model) if realign else None

    def offset(self, hidden: torch.Tensor) -> torch.Tensor:
        """m hW / max(|hW|, 1e-6)"""
        x = hidden.double()
        if self.W is not None:
            x = x @ self.W
        return self.norm * x / max(float(x.norm()), 1e-6)


def latent_mas(c: Candidates, latent: Latent, hidden: torch.Tensor) -> ThinkingStep:
    """The output token is the most probable one."""
    argmax = {"argmax": c.in_order(1)["argmax"]}
    return with_offset(step_of(c, [], [], argmax, token=c.ids[0]), latent.offset(hidden))


class Later:
    """The thinking of one request. After h of the prompt was fed (step 0, without a question), the
    logits of every fed h are asked: are they unsure, is their most probable token a stop?"""

    def __init__(self, request: Request, latent: Latent):
        self.request, self.latent = request, latent
        self.left = False

    def step(
        self, c: Candidates, position: int, noise: Noise, hidden: torch.Tensor
    ) -> ThinkingStep:
        request, asked = self.request, {}
        if position >= request.later_tokens:
            self.left = True
        elif position > 0 and not self.left:
            h1 = entropy_of(torch.softmax(c.logits, 0))
            asked = {"gate": abs(h1 - request.later_entropy), "argmax": c.in_order(1)["argmax"]}
            stops = request.later_stop == "text" and c.ids[0] in request.latent_stop_ids
            self.left = h1 > request.later_entropy or stops
        step = cot(c, request, noise) if self.left else latent_mas(c, self.latent, hidden)
        step.margins.update(closest(asked, step.margins))
        return step


def stop_ids(tokenizer) -> frozenset[int]:
    """Tokens whose text, without spaces, holds one of STOPS."""
    texts = [tokenizer.decode([i]).replace(" ", "") for i in range(len(tokenizer))]
    return frozenset(i for i, text in enumerate(texts) if any(stop in text for stop in STOPS))
