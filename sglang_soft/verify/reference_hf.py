"""A Hugging Face model as reference."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sglang_soft.trace import Trace
from sglang_soft.trace.steps import decode_offset
from sglang_soft.verify.steps import Logits

CHUNK = 128
"""Steps that are computed at once: their logits are held in memory."""


class HuggingFace:
    """A folder of a model, loaded at the first use."""

    def __init__(self, path: str | Path, *, device: str = "cpu", dtype: str = "float32") -> None:
        self.name = f"Hugging Face {path}"
        self._path, self._device, self._dtype = path, device, dtype
        self._model: Any = None
        self._facts: dict[str, Any] = {}

    def load(self, trace: Trace) -> Mapping[str, Any]:
        from transformers import AutoModelForCausalLM

        if self._model is None:
            dtype = getattr(torch, self._dtype)
            model = AutoModelForCausalLM.from_pretrained(self._path, dtype=dtype)
            self._model = model.to(self._device).eval()
            table, config = model.get_input_embeddings().weight, model.config
            self._facts = {
                "vocab_size": config.vocab_size,
                "hidden_size": config.hidden_size,
                "layers": config.num_hidden_layers,
                "dtype": self._dtype,
                "embedding_rms": float(table.detach().double().square().mean().sqrt()),
            }
        return self._facts

    def token_ids(self) -> Mapping[str, Collection[int]]:
        from transformers import AutoTokenizer

        from sglang_soft.methods.token_classes import TokenClasses

        return TokenClasses(AutoTokenizer.from_pretrained(self._path))

    def logits(self, trace: Trace, reads_hidden: bool) -> Logits:
        fed = self._inputs(trace)
        first = trace.start - 1 if trace.start else 0  # the position whose logits make step 0
        cache, position = None, 0
        stops = [first, *range(first + CHUNK, len(fed), CHUNK), len(fed)]
        for stop in dict.fromkeys(stops):
            part = fed[position:stop]
            if not len(part):
                continue
            keep = len(part) if position >= first else 1
            out = self._model(
                inputs_embeds=part[None], past_key_values=cache, use_cache=True,
                logits_to_keep=keep, output_hidden_states=reads_hidden,
            )  # fmt: skip
            cache = out.past_key_values
            if position >= first:
                hidden = out.hidden_states[-1][0].float().cpu() if reads_hidden else None
                for at, row in enumerate(out.logits[0].float().cpu()):
                    yield row[None], None if hidden is None else hidden[at : at + 1]
            position = stop

    def _inputs(self, trace: Trace) -> torch.Tensor:
        """[P, H]: the input embedding of each position up to the one that makes the last step."""
        embedding = self._model.get_input_embeddings()
        device, dtype = embedding.weight.device, embedding.weight.dtype
        assert trace.start is not None
        tokens = np.concatenate([trace.prompt_ids, trace.output_ids])
        last = trace.start + len(trace.steps) - 1
        ids = torch.from_numpy(tokens[:last].astype(np.int64)).to(device)
        fed = embedding(ids).float()
        for positions, steps, rows in trace.fed(0, last):
            chosen = torch.from_numpy(steps.ids_of(rows).astype(np.int64)).to(device)
            weights = torch.from_numpy(steps.weights_of(rows).copy()).to(device)
            mixed = (embedding(chosen).float() * weights[..., None]).sum(1)
            if steps.offset_bytes:
                scale = float(getattr(embedding, "embed_scale", 1.0))
                offsets = decode_offset(steps.offsets[rows], steps.offset_dtype)
                mixed += torch.from_numpy(offsets.copy()).to(device) * scale
            fed[positions.start : positions.stop] = mixed
        return fed.to(dtype)
