"""Parameters as they were published for a model, by name: `{"soft_thinking": {"preset": NAME}}`.

Values that a request gives next to the preset win.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Preset(NamedTuple):
    name: str
    model: str
    """Hugging Face name."""
    params: Mapping[str, Any]
    source: str


_PAPER = "arXiv 2505.15778, section 4.1, and the authors' scripts (min_p)"
_SOFT = {"method": "soft", "temperature": 0.6, "top_p": 0.95, "top_k": 30, "min_p": 0.001}
_COLD_STOP = {"cold_stop_entropy": 0.01, "cold_stop_steps": 256}

PRESETS: tuple[Preset, ...] = (
    Preset("qwq-32b", "Qwen/QwQ-32B", _SOFT | {"max_topk": 15} | _COLD_STOP, _PAPER),
    Preset(
        "deepseek-r1-qwen-32b", "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B",
        _SOFT | {"max_topk": 10} | _COLD_STOP, _PAPER,
    ),
    Preset(
        "deepseek-r1-llama-70b", "deepseek-ai/DeepSeek-R1-Distill-Llama-70B",
        _SOFT | {"max_topk": 10} | _COLD_STOP, _PAPER,
    ),
)  # fmt: skip


def params_of(name: Any) -> Mapping[str, Any]:
    """Raises ValueError: no such preset; names those that there are."""
    for preset in PRESETS:
        if preset.name == name:
            return preset.params
    known = ", ".join(preset.name for preset in PRESETS)
    raise ValueError(f"soft_thinking.preset must be one of {known}; got {name!r}.")


def table() -> list[dict[str, str]]:
    """As rows of text, for the endpoint, the command line and the docs."""
    return [
        {
            "preset": preset.name,
            "model": preset.model,
            "parameters": ", ".join(f"{key} {value}" for key, value in preset.params.items()),
            "source": preset.source,
        }
        for preset in PRESETS
    ]
