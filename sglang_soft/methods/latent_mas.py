from typing import Annotated

import torch
from sglang_soft_kernels import match_norm

from sglang_soft.methods.base import Method, NextInput, StepContext
from sglang_soft.params import ThinkingParams, described


class LatentMAS(Method):
    """The last hidden state, scaled to the norm of a row of the embedding table.

    m h / |h|, m the mean norm of a row; h: the state after the final norm, at the position that
    gave the logits. With realignment m hW / |hW| in its place, W = (U'U + 1e-5 I)^-1 U'E: U is the
    output head, E the embedding table. Where they are tied, W is the identity, up to the ridge.
    Output token: the most probable one. The authors think a fixed number of steps
    (`max_thinking_tokens`), and pass the thought from agent to agent.
    """

    name = "latent_mas"
    source = "latent step of LatentMAS (authors' code; by default not realigned)"

    class Params(ThinkingParams, tag="latent_mas", kw_only=True, frozen=True):
        latent_realign: Annotated[
            bool,
            described("Map the hidden state from the output head's space to the embedding table's"),
        ] = False

    feeds_offset = True
    reads_hidden = True
    realigned_by = "latent_realign"

    def step(self, context: StepContext) -> NextInput:
        assert context.hidden is not None
        hidden = context.hidden
        if context.realignment is not None:
            own = context.arg("latent_realign")[:, None] == 1
            hidden = torch.where(own, hidden.float() @ context.realignment, hidden.float())
        ids = context.ids[:, :1]
        return NextInput(
            ids, torch.zeros_like(ids, dtype=torch.float32), ids[:, 0],
            embedding_offset=match_norm(hidden, context.embedding_norm, context.dtype),
        )  # fmt: skip
