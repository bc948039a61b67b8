"""How long are hidden states after the final norm, next to rows of the embedding table?

    python -m launch.hidden_norms          the bundled model and SmolLM2-135M

`coconut_tf` feeds them as they are, `latent_mas` and `later` at the mean norm of a row. Measured at
the last 40 positions of four answers that the model gives greedily, in float32.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from launch import BUNDLED_MODEL, real_model
from launch.bench.turns import markdown

QUESTIONS = ("What is 43*34?", "What is 12*7?", "What is 58*21?", "What is 9*64?")
TOKENS = 40


class Norms(NamedTuple):
    name: str
    hidden_size: int
    tied: bool
    rows: torch.Tensor
    """[V]: of the embedding table's rows."""
    states: torch.Tensor
    """[n]: of the hidden states."""

    def cells(self) -> list[str]:
        ratio = self.states.mean() / self.rows.mean()
        return [
            self.name, str(self.hidden_size), "yes" if self.tied else "no",
            _spread(self.rows), _spread(self.states), f"{ratio:.3g}",
        ]  # fmt: skip


def _spread(x: torch.Tensor) -> str:
    return f"{x.mean():.3g} ± {x.std():.2g} (n = {len(x)})"


@torch.inference_mode()
def measure(name: str, path: str | Path, questions: Sequence[str] = QUESTIONS) -> Norms:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    found = []
    for question in questions:
        turn = [{"role": "user", "content": question}]
        prompt = tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
        ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False).input_ids
        ids = model.generate(ids, max_new_tokens=TOKENS, do_sample=False)
        hidden = model(ids, output_hidden_states=True).hidden_states[-1][0]
        found.append(hidden[-TOKENS:].norm(dim=1))
    table, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    tied = table.data_ptr() == head.data_ptr()
    return Norms(name, table.shape[1], tied, table.norm(dim=1), torch.cat(found))


HEAD = ("model", "hidden size", "tied", "rows of E", "hidden states", "ratio of the means")


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    models = {"bundled toy": BUNDLED_MODEL, "SmolLM2-135M-Instruct": real_model.path()}
    print(markdown(HEAD, [measure(name, path).cells() for name, path in models.items()]))


if __name__ == "__main__":
    main()
