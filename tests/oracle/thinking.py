"""The thinking of one request: the step of its method, whatever the method needs for it."""

import torch

from . import methods
from .candidates import Candidates
from .embed import table_rms
from .latent import Latent, Later, latent_mas
from .noise import Noise
from .request import Request
from .steps import ThinkingStep, thinking_step
from .swireasoning import SwiReasoning

READS_HIDDEN = ("coconut_tf", "latent_mas", "later")


class Thinking:
    """`model` is asked for its embedding table and its output layer only, and only by the methods
    that need them."""

    def __init__(self, request: Request, model=None):
        self.request = request
        self.position = 0
        self.swireasoning = SwiReasoning(request)
        if request.method in ("latent_mas", "later"):
            self.latent = Latent(model, bool(request.latent_realign))
            self.later = Later(request, self.latent)
        if request.method == "soft_noise":
            self.rms, self.size = table_rms(model), model.get_input_embeddings().weight.shape[1]

    @property
    def state(self) -> list[float]:
        """What the method remembers from step to step; most remember nothing."""
        if self.request.method == "later":
            return [float(not self.later.left)]
        if self.request.method != "swireasoning":
            return []
        swi = self.swireasoning
        started = swi.reference is not None
        reference = swi.reference if swi.reference is not None else 0.0
        return [float(swi.mode == "latent"), reference, swi.age, swi.switches, float(started)]

    def step(self, logits: torch.Tensor, hidden: torch.Tensor | None = None) -> ThinkingStep:
        """The next step, from `logits` [V] (penalties and bias applied), before Cold Stop and the
        bound are asked. `hidden` [hidden]: what the output layer read (`READS_HIDDEN`)."""
        request, position = self.request, self.position
        self.position += 1
        if request.method == "soft":
            return thinking_step(
                logits,
                temperature=request.temperature,
                top_k=request.top_k,
                top_p=request.top_p,
                min_p=request.min_p,
                max_topk=request.max_topk,
            )
        c = Candidates(logits, request)
        if request.method == "coconut_tf":
            assert hidden is not None
            return methods.coconut_tf(c, request, hidden)
        if request.method == "latent_mas":
            assert hidden is not None
            return latent_mas(c, self.latent, hidden)
        noise = Noise(request.seed, position)  # where the seed is None, nothing is drawn
        if request.method == "swireasoning":
            return self.swireasoning.step(c, position, noise)
        if request.method == "later":
            assert hidden is not None
            return self.later.step(c, position, noise, hidden)
        if request.method == "soft_noise":
            return methods.soft_noise(c, request, noise, self.rms, self.size)
        return methods.STATELESS[request.method](c, request, noise)
