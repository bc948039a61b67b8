"""Shapes of real models, served with random weights: SGLang's `--load-format dummy` needs a
config.json only.

    python -m launch.bench.shapes qwq-32b build/shapes/qwq-32b    writes a folder for --model-path
"""

import json
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from launch import BUNDLED_MODEL

THINK_START, THINK_END = 4, 5
"""Ids of the think tokens of the bundled tokenizer, which goes with every shape. The rest of a
shape's vocabulary is no text in it; prompts are ids, and ids that it does not know decode to
nothing."""


class Shape(NamedTuple):
    """A dense decoder. Fields in the names of Hugging Face's config.json, as the models' own files
    have them."""

    name: str
    architecture: str
    model_type: str
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    vocab_size: int
    rms_norm_eps: float
    head_dim: int = 128

    @property
    def weight_gib(self) -> float:
        """bfloat16, embedding and output layer untied."""
        attention = (
            2
            * self.hidden_size
            * self.head_dim
            * (self.num_attention_heads + self.num_key_value_heads)
        )
        layer = attention + 3 * self.hidden_size * self.intermediate_size
        return 2 * (self.num_hidden_layers * layer + 2 * self.vocab_size * self.hidden_size) / 2**30

    def cache_gib(self, tokens: int) -> float:
        """bfloat16 keys and values."""
        return (
            tokens * 4 * self.num_hidden_layers * self.num_key_value_heads * self.head_dim / 2**30
        )

    def write(self, folder: Path) -> Path:
        """config.json and the bundled tokenizer. Returns the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        own = ("name", "architecture")
        config = {key: value for key, value in self._asdict().items() if key not in own} | {
            "architectures": [self.architecture],
            "hidden_act": "silu",
            "dtype": "bfloat16",
            "max_position_embeddings": 40960,
            "rope_parameters": {"rope_theta": 1_000_000.0, "rope_type": "default"},
            "tie_word_embeddings": False,
            "attention_bias": False,
            "bos_token_id": None,
            "eos_token_id": 2,
            "pad_token_id": 0,
        }
        (folder / "config.json").write_text(json.dumps(config, indent=2))
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            shutil.copy(BUNDLED_MODEL / name, folder / name)
        return folder


SHAPES: dict[str, Shape] = {
    shape.name: shape
    for shape in (
        Shape("qwen3-8b", "Qwen3ForCausalLM", "qwen3", 4096, 12288, 36, 32, 8, 151_936, 1e-6),
        Shape("qwq-32b", "Qwen2ForCausalLM", "qwen2", 5120, 27648, 64, 40, 8, 152_064, 1e-5),
    )
}


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in SHAPES:
        raise SystemExit(f"usage: python -m launch.bench.shapes {{{','.join(SHAPES)}}} FOLDER")
    print(SHAPES[sys.argv[1]].write(Path(sys.argv[2])))
