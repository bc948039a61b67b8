"""A "model" whose logits are a script, a request to it, and noise of given uniforms: for tests by
hand."""

from types import SimpleNamespace

import torch

from .loop import run
from .noise import Noise
from .request import Request
from .trace import Trace

START, END, EOS = 8, 9, 7  # the vocabulary is 0..9


class Fixed(Noise):
    """Noise whose uniforms are given: {(stream, lane): u}."""

    def __init__(self, uniforms: dict[tuple[int, int], float]):
        super().__init__(seed=0, position=0)
        object.__setattr__(self, "uniforms", uniforms)

    def uniform(self, stream: int, lane: int) -> float:
        return self.uniforms[stream, lane]


class Scripted:
    """A "model" whose logits at output step i are `script[i]`; the last one repeats. Its hidden
    state at step i is i + 1 in every component; the output layer's weights are twice the table's.
    Records what it was fed."""

    def __init__(self, *script: dict[int, float]):
        self.script = script
        self.table = torch.nn.Embedding(10, 10, _weight=torch.eye(10))
        self.head = torch.nn.Identity()
        self.head.weight = 2 * torch.eye(10)
        self.fed = []

    def get_input_embeddings(self):
        return self.table

    def get_output_embeddings(self):
        return self.head

    def __call__(self, inputs_embeds, past_key_values, use_cache, logits_to_keep):
        probs = torch.full((10,), 1e-30)
        for token, p in self.script[min(len(self.fed), len(self.script) - 1)].items():
            probs[token] = p
        self.fed.append(inputs_embeds[0])
        self.head(torch.full((1, 1, 10), float(len(self.fed))))
        return SimpleNamespace(logits=probs.log()[None, None], past_key_values="cache")


def ask(*script: dict[int, float], prompt=(1, START), **changes) -> tuple[Trace, Scripted]:
    """`changes`: fields of `Request`."""
    model = Scripted(*script)
    changes = {
        "max_new_tokens": 6,
        "temperature": 1.0,
        "top_p": 1.0,
        "eos_ids": frozenset([EOS]),
    } | changes
    trace = run(model, list(prompt), Request(think_start_id=START, think_end_id=END, **changes))
    return trace, model


TWO = {2: 0.75, 3: 0.25}  # entropy 0.5623
SURE = {2: 1.0}
FINISH = {END: 1.0}
ANSWER = {5: 0.6, 4: 0.4}
STOP = {EOS: 1.0}
