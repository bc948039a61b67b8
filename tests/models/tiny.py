"""Tiny random-weight models with a tokenizer, written to disk as float32 safetensors.

Plain random weights would not do. At the usual scale of 0.02 every distribution is nearly flat; at
a larger one they vary, but soft thinking becomes chaotic: rounding errors of 1e-7 grow to 1e-1
within 20 steps, and no two programs agree. So the words come in 16 clusters. Words of a cluster
have nearby embeddings, and the output layer (with tied embeddings: the first MLP) prefers the next
cluster. Which words of it, and how surely, depends on the context: entropies from 0.01 to 2 nats.
Where a mixture stays in a cluster, errors shrink instead of growing.

`</think>` comes up by itself for some prompts. Two key-value heads, so a tensor-parallel size of 2
divides every matrix; 261 words, so SGLang pads the vocabulary (to 320).

    path = tiny.build("qwen3", tmp_path)
    model, tokenizer = tiny.load(path)
    ids = tiny.prompt_ids(tokenizer, "sum")
"""

import os
import tempfile
import zlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:  # an import of transformers takes 10 s
    from transformers import PreTrainedTokenizerFast

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CLUSTERS = 16
HIDDEN = 64
THINK = ["<think>", "</think>"]
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>{% endif %}"
)

# The last three do not end inside a think block. Of these only "opens" makes the model emit
# `<think>` by itself.
PROMPTS = {
    "tiny": "hi<think>",
    "sum": "12+34=?<think>",
    "chat": "<|im_start|>user\nWhat is 43*34?<|im_end|>\n<|im_start|>assistant\n<think>",
    "long": "A train leaves at noon and another one an hour later. When?<think>",
    "again": "<think>a</think>b<think>",
    "digits": "31415926535897932384<think>so",
    "closed": "<think>a</think>b",
    "plain": "Name three colours.",
    "opens": "Let us see, then:",
}
NEVER_OPENS = ("gemma", "qwen2")
"""Families that emit `<think>` for none of the prompts."""
OPEN_PROMPTS = [name for name in PROMPTS if name not in ("closed", "plain", "opens")]


@dataclass(frozen=True)
class Family:
    """How one architecture is built. `gain` multiplies rows of the output embedding, by token."""

    model_type: str
    seed: int
    tied: bool = False
    embed_std: float = 1.0
    embed_spread: float = 0.5
    head_std: float = 0.2
    head_spread: float = 1.3
    layer_std: float = 0.095
    lookup: float = 0.1
    norm_offset: float = 1.0
    head_dim: int = 32
    gain: dict[str, float] = field(default_factory=dict)
    config: dict = field(default_factory=dict)


# Seeds and gains were picked so that, over `PROMPTS`, some traces end by themselves and some do not
# (Gemma's never do), float32 and float64 agree within 1e-5 for 80 steps, and no decision is closer
# than 1e-5. test_oracle checks all three; `describe` shows them.
FAMILIES = {
    "llama": Family("llama", seed=2, layer_std=0.088, gain={"</think>": 1.65, "<think>": 1.06}),
    # SGLang's Qwen2 derives head_dim from the hidden size, whatever the config says.
    "qwen2": Family("qwen2", seed=9, head_dim=16, gain={"</think>": 1.08, "<think>": 1.4}),
    "qwen3": Family("qwen3", seed=14, gain={"</think>": 1.03, "<think>": 1.16}),
    # SGLang's Gemma 1 has the exact GELU whatever the config says; transformers rewrites "gelu" to
    # its tanh form, but not this name.
    "gemma": Family(
        "gemma",
        seed=14,
        tied=True,
        embed_std=0.2,
        embed_spread=0.6,
        layer_std=0.12,
        norm_offset=0.0,
        gain={"</think>": 0.8, "<think>": 0.8},
        config={"hidden_act": "gelu_python"},
    ),
    "qwen3_moe": Family(
        "qwen3_moe",
        seed=2,
        gain={"</think>": 1.57, "<think>": 1.08},
        config={
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 64,
            "norm_topk_prob": True,
        },
    ),
}


def build(family: str, directory: str | os.PathLike) -> Path:
    """Write the model and its tokenizer to `directory/family` and return that path; a finished
    build is used again."""
    if family not in FAMILIES:
        raise ValueError(f"family={family!r}: one of {sorted(FAMILIES)}")
    path = Path(directory) / family
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        tokenizer = build_tokenizer()
        model = build_model(FAMILIES[family], tokenizer)
        done = Path(scratch) / family
        model.save_pretrained(done)
        tokenizer.save_pretrained(done)
        try:
            done.rename(path)
        except OSError:  # another process finished the same build first
            if not path.exists():
                raise
    return path


def load(path: str | os.PathLike, dtype: torch.dtype = torch.float32, **kwargs):
    """(model in eval mode on the CPU, tokenizer) of a directory made by `build`, or of any other
    causal language model."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, **kwargs).eval()
    model.set_experts_implementation(
        "eager"
    )  # of a mixture of experts: the plain loop, which knows float64 too
    return model, AutoTokenizer.from_pretrained(path)


def prompt_ids(tokenizer, name: str) -> list[int]:
    """Token ids of `PROMPTS[name]`."""
    return tokenizer(PROMPTS[name], add_special_tokens=False)["input_ids"]


@lru_cache(maxsize=1)
def build_tokenizer() -> "PreTrainedTokenizerFast":
    """256 byte tokens, no merges; three special tokens; the think markers, which are ordinary added
    tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    core.add_tokens([AddedToken(t, special=False, normalized=False) for t in THINK])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=4096,
    )


def build_model(family: Family, tokenizer: "PreTrainedTokenizerFast"):
    """A model of `family` in float32 with every parameter set from `family.seed` and the
    parameter's own name."""
    from transformers import AutoConfig, AutoModelForCausalLM

    eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    config = AutoConfig.for_model(
        family.model_type,
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=family.head_dim,
        max_position_embeddings=4096,
        tie_word_embeddings=family.tied,
        eos_token_id=eos,
        pad_token_id=pad,
        bos_token_id=None,
        **family.config,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(_draw(family, name, parameter.shape))
        # the last one, so that a tied embedding is scaled once
        model.get_output_embeddings().weight.mul_(_row_gain(family, tokenizer))
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = eos, pad
    return model


def _draw(family: Family, name: str, shape: torch.Size) -> torch.Tensor:
    generator = torch.Generator().manual_seed(family.seed * 1_000_003 + zlib.crc32(name.encode()))
    noise = torch.randn(shape, generator=generator)
    if "norm" in name:
        return family.norm_offset + 0.1 * noise
    if name.endswith("bias"):
        return 0.1 * noise
    if "embed_tokens" in name:
        return family.embed_std * (
            _directions(family)[_cluster(len(noise))] + family.embed_spread * noise
        )
    if "lm_head" in name:
        return family.head_std * (
            _directions(family)[_cluster(len(noise)) - 1] + family.head_spread * noise
        )
    weight = family.layer_std * noise
    if family.tied and "layers.0.mlp" in name:
        _write_lookup(weight, name, _directions(family), family.lookup)
    return weight


def _cluster(vocab_size: int) -> torch.Tensor:
    """[V]: cluster of each word. The stride keeps `</think>` away from the words that follow
    `<think>`."""
    return torch.arange(vocab_size) * 7 % CLUSTERS


def _directions(family: Family) -> torch.Tensor:
    """[CLUSTERS, hidden]: what the words of a cluster share."""
    return torch.randn(CLUSTERS, HIDDEN, generator=torch.Generator().manual_seed(family.seed))


def _write_lookup(weight: torch.Tensor, name: str, directions: torch.Tensor, gain: float) -> None:
    """One hidden unit a cluster, which answers a cluster's direction with the next cluster's, and
    takes its own away."""
    if "down_proj" in name:
        weight[:, :CLUSTERS] = gain * (directions.roll(-1, 0) - directions).T
    else:
        weight[:CLUSTERS] = directions / HIDDEN**0.5


def _row_gain(family: Family, tokenizer: "PreTrainedTokenizerFast") -> torch.Tensor:
    """[V, 1]: bytes that are no printable text, and the special tokens, are made improbable (a
    small row has a logit near 0)."""
    gain = torch.ones(len(tokenizer), 1)
    printable = {
        tokenizer.convert_tokens_to_ids(t)
        for c in range(32, 127)
        for t in tokenizer.tokenize(chr(c))
    }
    quiet = [i for i in range(len(tokenizer)) if i not in printable]
    gain[quiet] = 0.3
    gain[tokenizer.eos_token_id] = 0.5
    for token, value in family.gain.items():
        gain[tokenizer.convert_tokens_to_ids(token)] = value
    return gain
