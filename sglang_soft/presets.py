"""Parameters as they were published for a model, by name: `{"soft_thinking": {"preset": NAME}}`.

Values that a request gives next to the preset win. Every value has its source. None of them was run
on these models here.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Preset(NamedTuple):
    name: str
    model: str
    """Hugging Face name."""
    method: str
    sourced: Mapping[str, Mapping[str, Any]]
    """From a source to the values that it gives, by canonical name."""

    @property
    def params(self) -> dict[str, Any]:
        """All values, as a request would give them."""
        merged = {key: value for part in self.sourced.values() for key, value in part.items()}
        return {"method": self.method, **merged}


_PAPER = "arXiv 2505.15778, section 4.1"
_README = "command in the readme of eric-ai-lab/Soft-Thinking (8c753ce), given for QwQ-32B"
_GUMBEL = "scripts/st/qwq32b_gumble.sh of eric-ai-lab/Soft-Thinking"
_SWI_ALPHA = "run.sh of sdc17/SwiReasoning"
_SWI_RUN = "defaults of run.py of sdc17/SwiReasoning (443c2e4)"
_SELAR_README = "command in the README of Parker-rfu/SeLaReasoning (044e20a)"
_SELAR_LOG = "name of a result file of Parker-rfu/SeLaReasoning (de41c7b)"
_SELAR_RUN = "defaults of scripts/run.py of Parker-rfu/SeLaReasoning (de41c7b)"
_MULTIPLEX_README = "command in the README of MaxLEAF3824/Multiplex-Thinking (89c5ad7)"
_MULTIPLEX_RUN = "defaults of scripts/train.sh of MaxLEAF3824/Multiplex-Thinking (45abf22)"

_LATER = "defaults of later/src/config/project_config.py of TioeAre/LaTER (acb952c)"
_LATER_AIME = "later/scripts/eval/aime25.sh of TioeAre/LaTER (acb952c), which sets its gates aside"

_SAMPLING = {"temperature": 0.6, "top_p": 0.95, "top_k": 30}
_COLD_STOP = {"stop": {"rule": "cold_stop", "entropy": 0.01, "steps": 256}}
_ANSWER = {"answer_temperature": 0.6, "answer_top_p": 0.95, "answer_top_k": 30, "answer_min_p": 0.0}
_QWEN3 = {"temperature": 0.6, "top_p": 0.95, "top_k": 20, "min_p": 0.0}
_ALL = {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "answer_temperature": 1.0}
_ALL |= {"answer_top_p": 1.0, "answer_top_k": -1, "answer_min_p": 0.0}

_DATA = ("gsm8k", "math500", "gpqa", "aime2024", "aime2025")
_ALPHA: dict[tuple[str, str], tuple[float, ...]] = {
    ("qwen3-1.7b", "Qwen/Qwen3-1.7B"): (0.6, 0.5, 1.0, 0.5, 0.3),
    ("qwen3-8b", "Qwen/Qwen3-8B"): (0.5, 1.0, 1.0, 0.9, 0.9),
    ("deepseek-r1-llama-8b", "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"):
        (0.1, 0.5, 0.7, 0.65, 0.7),
}  # fmt: skip
"""SwiReasoning's alpha for each model and data set."""


def _soft(name: str, model: str, k: int) -> Preset:
    paper = {"max_topk": k} | _SAMPLING | _COLD_STOP
    return Preset(name, model, "soft", {_PAPER: paper, _README: {"min_p": 0.001} | _ANSWER})


def _swireasoning() -> Iterator[Preset]:
    for (name, model), alphas in _ALPHA.items():
        for data, alpha in zip(_DATA, alphas, strict=True):
            sourced = {_SWI_ALPHA: {"swi_alpha": alpha}, _SWI_RUN: _QWEN3}
            yield Preset(f"{name}-swireasoning-{data}", model, "swireasoning", sourced)


def _selar(name: str, model: str, source: str, threshold: float) -> Preset:
    chosen = {"max_topk": 3, "selar_threshold": threshold}
    return Preset(name, model, "selar", {source: chosen, _SELAR_RUN: _QWEN3})


def _later(name: str, source: str, tokens: int, entropy: float) -> Preset:
    own = {"later_tokens": tokens, "later_entropy": entropy}
    sampling = {"temperature": 0.6, "top_p": 0.95}
    return Preset(name, "Qwen/Qwen3-14B", "later", {source: own, _LATER: sampling})


PRESETS: tuple[Preset, ...] = (
    _soft("qwq-32b", "Qwen/QwQ-32B", 15),
    _soft("deepseek-r1-qwen-32b", "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", 10),
    _soft("deepseek-r1-llama-70b", "deepseek-ai/DeepSeek-R1-Distill-Llama-70B", 10),
    Preset(
        "qwq-32b-gumbel", "Qwen/QwQ-32B", "soft_gumbel",
        {_GUMBEL: {"max_topk": 5, "gumbel_temperature": 0.5, "min_p": 0.0} | _SAMPLING | _ANSWER},
    ),
    *_swireasoning(),
    _selar("qwen3-8b-selar-gsm8k", "Qwen/Qwen3-8B", _SELAR_README, 0.5),
    _selar("qwen3-32b-selar-aime2024", "Qwen/Qwen3-32B", _SELAR_LOG, 0.4),
    _selar("qwen3-32b-selar-aime2025", "Qwen/Qwen3-32B", _SELAR_LOG, 0.6),
    Preset(
        "deepseek-r1-qwen-7b-multiplex", "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "multiplex",
        {_MULTIPLEX_README: {"max_topk": 3, "multiplex_weighting": "mean"}, _MULTIPLEX_RUN: _ALL},
    ),
    _later("qwen3-14b-later-aime2025", _LATER_AIME, 96, 70.0),
)  # fmt: skip


def params_of(name: Any) -> Mapping[str, Any]:
    """Raises ValueError: no such preset; names those that there are."""
    for preset in PRESETS:
        if preset.name == name:
            return preset.params
    known = ", ".join(preset.name for preset in PRESETS)
    raise ValueError(f"soft_thinking.preset must be one of {known}; got {name!r}.")


def _text(value: Any) -> str:
    if isinstance(value, Mapping):  # a stopping rule
        return " ".join(f"{v}" if k == "rule" else f"{k} {v}" for k, v in value.items())
    return str(value)


def table() -> list[dict[str, str]]:
    """As rows of text, for the endpoint, the command line and the docs."""
    return [
        {
            "preset": preset.name,
            "model": preset.model,
            "parameters": ", ".join(f"{key} {_text(v)}" for key, v in preset.params.items()),
            "source": "; ".join(
                source if len(preset.sourced) == 1 else f"{', '.join(part)}: {source}"
                for source, part in preset.sourced.items()
            ),
        }
        for preset in PRESETS
    ]
