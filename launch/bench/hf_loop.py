"""A soft loop in plain Hugging Face, for scale: one request, float32, its own KV cache. It
shares no code with the plugin."""

import time
from collections.abc import Sequence
from pathlib import Path


class SoftLoop:
    """A model, loaded once. Uses `threads` threads of PyTorch in this process."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(threads)
        self._model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()

    def tokens_per_second(self, prompt: Sequence[int], tokens: int) -> float:
        """Thinking tokens a second after the prefill. prompt: ids. The sampling is that of
        `requests`, with the 10 most probable tokens in a concept token."""
        import torch

        embeddings = self._model.get_input_embeddings().weight
        with torch.inference_mode():
            out = self._model(input_ids=torch.tensor([prompt]), use_cache=True)
            start = time.perf_counter()
            for _ in range(tokens):
                p, ids = torch.softmax(out.logits[0, -1] / 0.6, -1).topk(30)
                p = p / p.sum()
                keep = (p.cumsum(0) - p <= 0.95) & (p >= 0.001 * p[0])
                w, ids = (p * keep)[:10], ids[:10]
                fed = (w / w.sum()) @ embeddings[ids]
                out = self._model(
                    inputs_embeds=fed[None, None], past_key_values=out.past_key_values
                )
            return tokens / (time.perf_counter() - start)
