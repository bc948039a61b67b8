"""One preset a line: which arguments a server of this model gets on this hardware.

Without an entry for your hardware, take the nearest one and change `--tp-size`: SGLang needs a size
that divides the model's attention heads. `launch/README.md` has the recipes for several nodes.
"""

from typing import NamedTuple

SERVER = ("python", "-m", "sglang_soft.launch_server")
CUDA = ("--attention-backend", "flashinfer")
"""FlashInfer everywhere on CUDA, so that figures of different machines are of the same attention
kernels."""


class Preset(NamedTuple):
    name: str
    model: str
    """Hugging Face name; empty: the bundled model, which the server takes without --model-path."""
    hardware: str
    parser: str = ""
    """SGLang's reasoning parser: it also tells Soft Thinking which tokens open and close the
    thinking."""
    args: tuple[str, ...] = ()

    def command(self) -> list[str]:
        model = ("--model-path", self.model) if self.model else ()
        parser = ("--reasoning-parser", self.parser) if self.parser else ()
        return [*SERVER, *model, *parser, *self.args]


QWQ, R1_QWEN, R1_LLAMA = (
    "Qwen/QwQ-32B",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B",
    "deepseek-ai/DeepSeek-R1-Distill-Llama-70B",
)
PRESETS: tuple[Preset, ...] = (
    Preset("bundled-cpu", "", "any CPU"),
    Preset("qwen3-8b", "Qwen/Qwen3-8B", "1 GPU", "qwen3", CUDA),
    Preset("qwq-32b-h200", QWQ, "1 H200", "deepseek-r1", CUDA),
    Preset("qwq-32b-8gpu", QWQ, "8 GPUs", "deepseek-r1", (*CUDA, "--tp-size", "8")),
    Preset("r1-qwen-32b-8gpu", R1_QWEN, "8 GPUs", "deepseek-r1", (*CUDA, "--tp-size", "8")),
    Preset("r1-llama-70b-8gpu", R1_LLAMA, "8 GPUs", "deepseek-r1", (*CUDA, "--tp-size", "8")),
)


def find(name: str) -> Preset:
    """Raises ValueError for a name that is not in the table."""
    for preset in PRESETS:
        if preset.name == name:
            return preset
    raise ValueError(f"no preset {name!r}; presets: {', '.join(p.name for p in PRESETS)}.")
