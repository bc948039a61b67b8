"""The thinking of one request: the step of its method, whatever the method needs for it."""

import torch

from . import methods
from .candidates import Candidates
from .embed import table_rms
from .noise import Noise
from .request import Request
from .steps import ThinkingStep, thinking_step
from .swireasoning import SwiReasoning


class Thinking:
    """`model` is asked for its embedding table only, and only by the methods that need it."""

    def __init__(self, request: Request, model=None):
        self.request = request
        self.position = 0
        self.swireasoning = SwiReasoning(request)
        if request.method == "soft_noise":
            self.rms, self.size = table_rms(model), model.get_input_embeddings().weight.shape[1]

    @property
    def state(self) -> list[float]:
        """What the method remembers from step to step; most remember nothing."""
        if self.request.method != "swireasoning":
            return []
        swi = self.swireasoning
        started = swi.reference is not None
        reference = swi.reference if swi.reference is not None else 0.0
        return [float(swi.mode == "latent"), reference, swi.age, swi.switches, float(started)]

    def step(self, logits: torch.Tensor, hidden: torch.Tensor | None = None) -> ThinkingStep:
        """The next step, from `logits` [V] (penalties and bias applied), before Cold Stop and the
        bound are asked. `hidden` [hidden]: what the output layer read (coconut_tf)."""
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
        noise = Noise(request.seed, position)  # where the seed is None, nothing is drawn
        if request.method == "swireasoning":
            return self.swireasoning.step(c, position, noise)
        if request.method == "soft_noise":
            return methods.soft_noise(c, request, noise, self.rms, self.size)
        return methods.STATELESS[request.method](c, request, noise)
