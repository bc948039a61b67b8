"""The model's shape, and how it is written as a checkpoint that transformers and SGLang load."""

import copy
import json
import os
import tempfile
from pathlib import Path

import torch
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from .tokenizer import build_tokenizer

CONTEXT = 1024


def build_model(tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """0.8M parameters. head_dim is 64 because attention kernels on GPUs want it."""
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=64,
        max_position_embeddings=CONTEXT,
        rope_parameters={"rope_type": "default", "rope_theta": 1e4},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen3ForCausalLM(config)


def save(model: Qwen3ForCausalLM, folder: Path) -> None:
    """Write bfloat16 weights, tokenizer and generation defaults; each file appears whole or not at
    all."""
    tokenizer = build_tokenizer(CONTEXT)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        shipped = copy.deepcopy(model).to("cpu", torch.bfloat16)
        shipped.generation_config = GenerationConfig(
            do_sample=True,
            temperature=0.6,
            top_p=0.95,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        shipped.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        # transformers 5 writes a class name of its own there, which no other version knows.
        tokenizer_config = Path(temporary) / "tokenizer_config.json"
        settings = json.loads(tokenizer_config.read_text()) | {
            "tokenizer_class": "PreTrainedTokenizerFast"
        }
        tokenizer_config.write_text(json.dumps(settings, indent=2) + "\n")
        for file in Path(temporary).iterdir():
            file.chmod(0o644)
            os.replace(file, folder / file.name)
