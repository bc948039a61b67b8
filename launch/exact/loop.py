"""Many thoughts at once on a Hugging Face model, with the plugin's own steps.

Shapes: N rows (a thought each), P prompts, L tokens of the longest prompt, V vocabulary, H hidden
size. Prompts are padded on the left. Only models with full attention in every layer, and no scale
on their logits (Llama, Qwen 2 and 3).
"""

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from sglang_soft.engine.inputs import prepare
from sglang_soft.engine.pool import ConceptPool
from sglang_soft.engine.request import SoftRequest
from sglang_soft.engine.step import concept_step
from sglang_soft.methods.token_classes import TokenClasses
from sglang_soft.params import RequestParams

SLOTS = 64
"""Of the pool; no concept token is larger."""


class Thoughts:
    """N thoughts, of which each step is one forward of the model and one step of the plugin.

    A thought never ends: the tokens of `banned` have no probability.
    """

    def __init__(
        self, model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], rows: Sequence[int],
        requests: Sequence[RequestParams], banned: Collection[int], steps: int,
    ) -> None:  # fmt: skip
        """prompts: [P] token ids; rows: [N] the prompt of each thought; requests: [N]; steps: most
        of them that will be fed."""
        self.model = model
        self.embedding = model.get_input_embeddings()
        table = self.embedding.weight
        self._exact = torch.promote_types(table.dtype, torch.float32)
        self.pool = ConceptPool(
            len(rows) + 1, SLOTS, "cpu", hidden_size=table.shape[1], dtype=table.dtype,
            embedding_rms=float(table.double().square().mean().sqrt()),
            token_ids=TokenClasses(tokenizer),
        )  # fmt: skip
        own = [SoftRequest(r, len(prompts[p])) for r, p in zip(requests, rows, strict=True)]
        self._rows = torch.arange(1, len(rows) + 1)
        self.pool.start(self._rows.tolist(), own)
        self._inputs = prepare(self.pool, self._rows, own)
        self._banned = torch.tensor(sorted(banned))
        model.set_attn_implementation(ATTENTION)
        self.logits, self.hidden = self._prefill(prompts, torch.tensor(rows), steps)
        """[N, V] and [N, H] of the last position, in the model's dtype."""
        self.fed = 0
        """Thinking steps that the model has read."""

    def think(self) -> tuple[torch.Tensor, torch.Tensor]:
        """One step of the plugin: the token that each row emits, [N], and the input embedding that
        it feeds next, [N, H] in the model's dtype."""
        allowed = self.logits.float()
        allowed[:, self._banned] = -torch.inf
        output = concept_step(self._inputs, allowed, self.hidden)
        tokens = output.record.token.clone()
        output.update_pool(tokens)
        return tokens, self._embed(tokens)

    def feed(self, inputs: torch.Tensor) -> None:
        """One forward. inputs: [N, H] in the model's dtype."""
        at = self._length + self.fed
        self.logits, self.hidden = self._forward(
            inputs[:, None], self._cache, self._real[:, None, None, : at + 1], at - self._padding
        )
        self.fed += 1

    def _embed(self, tokens: torch.Tensor) -> torch.Tensor:
        """What the pool says that the rows feed, mixed in float32 at least, as the engine does."""
        pool, k = self.pool, self._inputs.k
        ids, weights = pool.ids[self._rows, :k].long(), pool.weights[self._rows, :k]
        mixed = (self.embedding(ids).to(self._exact) * weights.to(self._exact)[..., None]).sum(1)
        offset = pool.has_offset[self._rows]
        if pool.offsets is not None:
            scale = float(getattr(self.embedding, "embed_scale", 1.0))
            added = pool.offsets[self._rows].to(self._exact) * scale
            mixed += torch.where(offset[:, None], added, 0.0)
        plain = ~weights.any(1) & ~offset
        alone = self.embedding(tokens.long()).to(self._exact)
        return torch.where(plain[:, None], alone, mixed).to(self.embedding.weight.dtype)

    def _prefill(
        self, prompts: Sequence[Sequence[int]], rows: torch.Tensor, steps: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Each prompt once; its keys and values are then copied to its rows."""
        length = max(map(len, prompts))
        padding = torch.tensor([length - len(p) for p in prompts])
        ids = torch.tensor([[0] * (length - len(p)) + list(p) for p in prompts])
        real = torch.arange(length + steps) >= padding[:, None]
        # A padded position reads itself, so that no row of the softmax is empty.
        mask = real[:, None, None, :length] | torch.eye(length, dtype=torch.bool)
        mask = mask & torch.ones(length, length, dtype=torch.bool).tril()
        positions = (torch.arange(length) - padding[:, None]).clamp(min=0)
        cache = DynamicCache()
        logits, hidden = self._forward(self.embedding(ids), cache, mask, positions)
        self._length, self._padding, self._real = length, padding[rows, None], real[rows]
        layers = [_Layer(x.keys[rows], x.values[rows], steps) for x in cache.layers]
        self._cache = Cache(layers=layers)
        return logits[rows], hidden[rows]

    def _forward(
        self, inputs: torch.Tensor, cache: Cache, mask: torch.Tensor, positions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and hidden state of the last position. mask: bool, True where a key is read."""
        out = self.model.base_model(
            inputs_embeds=inputs, past_key_values=cache, attention_mask=mask,
            position_ids=positions, use_cache=True,
        )  # fmt: skip
        hidden = out.last_hidden_state[:, -1]
        return self.model.get_output_embeddings()(hidden), hidden


def widen(model: Any) -> None:
    """Let a float64 model compute its norms in float64: transformers computes them in float32, and
    that rounding would be as large as what is measured."""
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            module.forward = partial(_rms_norm, module.weight, module.variance_epsilon)


def _rms_norm(weight: torch.Tensor, epsilon: float, x: torch.Tensor) -> torch.Tensor:
    return weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon))


class _Layer(DynamicLayer):
    """Keys and values of one layer, with room for all steps: adding one copies nothing."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, steps: int) -> None:
        """keys, values: [N, heads, L, D] of the prompts."""
        super().__init__()
        self.lazy_initialization(keys, values)
        self._length = keys.shape[2]
        shape = (*keys.shape[:2], self._length + steps, keys.shape[3])
        self._keys, self._values = keys.new_empty(shape), values.new_empty(shape)
        self._keys[:, :, : self._length], self._values[:, :, : self._length] = keys, values

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        start, self._length = self._length, self._length + key_states.shape[2]
        self._keys[:, :, start : self._length] = key_states
        self._values[:, :, start : self._length] = value_states
        return self._keys[:, :, : self._length], self._values[:, :, : self._length]

    def get_seq_length(self) -> int:
        return self._length


def _attention(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
    attention_mask: torch.Tensor, scaling: float, **_: Any,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """Grouped-query attention that copies neither keys nor values. query: [N, heads, T, D];
    attention_mask: [N, 1, T, S] bool. The softmax is in float32 at least."""
    n, heads, t, d = query.shape
    groups = heads // key.shape[1]
    packed = (query * scaling).reshape(n, key.shape[1], groups * t, d)
    scores = (packed @ key.transpose(2, 3)).view(n, key.shape[1], groups, t, -1)
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    scores = scores.masked_fill(~attention_mask[:, :, None], -torch.inf)
    probs = scores.softmax(-1).to(value.dtype).view(n, key.shape[1], groups * t, -1)
    return (probs @ value).view(n, heads, t, d).transpose(1, 2), None


ATTENTION = "sglang_soft_grouped"
AttentionInterface.register(ATTENTION, _attention)
