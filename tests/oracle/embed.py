"""What a model is fed: rows of its embedding table, mixtures of them, and offsets of a mixture."""

from collections.abc import Sequence

import torch


def embed_tokens(model, ids: Sequence[int]) -> torch.Tensor:
    """[len(ids), hidden]: plain tokens, as the model itself embeds them."""
    return model.get_input_embeddings()(torch.tensor(ids))


def embed_mixture(
    model, ids: Sequence[int], weights: Sequence[float], offset: torch.Tensor | None = None
) -> torch.Tensor:
    """[1, hidden]: sum of weights[k] * E[ids[k]], plus `offset` [hidden], then the model's own
    scaling of embeddings, if it has one.

    In transformers 5 Gemma's scaling is inside its embedding module, and `inputs_embeds` are taken
    as scaled already.
    """
    module = model.get_input_embeddings()
    table = module.weight
    index = torch.tensor(ids, dtype=torch.long)
    mixture = torch.tensor(weights, dtype=table.dtype) @ table[index]
    if offset is not None:
        mixture = mixture + offset.to(table.dtype)
    scale = getattr(module, "embed_scale", None)
    if scale is not None:
        mixture = mixture * scale.to(table.dtype)
        assert torch.equal(module(index), table[index] * scale.to(table.dtype)), (
            "the model embeds in a way unknown here"
        )
    else:
        assert torch.equal(module(index), table[index]), "the model embeds in a way unknown here"
    return mixture[None]


def table_rms(model) -> float:
    """Root of the mean square of all components of the embedding table, before the model's own
    scaling."""
    return float(model.get_input_embeddings().weight.double().square().mean().sqrt())


class LastHidden:
    """While entered, keeps what the output layer last read: [hidden], the last position's hidden
    state after the final norm."""

    def __init__(self, model):
        self.layer = model.get_output_embeddings()
        self.value: torch.Tensor | None = None

    def __enter__(self) -> "LastHidden":
        self.hook = self.layer.register_forward_pre_hook(self._keep)
        return self

    def __exit__(self, *exception) -> None:
        self.hook.remove()

    def _keep(self, layer, inputs) -> None:
        self.value = inputs[0][0, -1].clone()
