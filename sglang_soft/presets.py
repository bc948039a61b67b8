"""Published parameters by name: `{"soft_thinking": {"preset": "qwq-32b"}}`.

Every value names where it was published. A preset is a start, not a recommendation: none of them
was run on these models here.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sglang_soft.params import KEY

_README = "readme.md of eric-ai-lab/Soft-Thinking (8c753ce), command for QwQ-32B"
_README_ALL = "readme.md of eric-ai-lab/Soft-Thinking (8c753ce), hyperparameters of all results"
_PAPER = "arXiv 2505.15778, n of the R1 distills"
_GUMBEL = "scripts/st/qwq32b_gumble.sh of eric-ai-lab/Soft-Thinking"
_SWI_RUN = "defaults of run.py of sdc17/SwiReasoning (443c2e4)"
_SWI_ALPHA = "run.sh of sdc17/SwiReasoning"
_SELAR_RUN = "defaults of scripts/run.py of Parker-rfu/SeLaReasoning (de41c7b)"
_SELAR_README = "README.md of Parker-rfu/SeLaReasoning (044e20a), command for GSM8K"
_SELAR_LOG = "name of the published result file of Parker-rfu/SeLaReasoning (de41c7b)"
_MULTIPLEX = "scripts/train.sh of the Multiplex Thinking repository (45abf22), defaults"
_MULTIPLEX_README = "README.md of the Multiplex Thinking repository, its command"

_SAMPLING = {"temperature": 0.6, "top_p": 0.95, "top_k": 30}
_ANSWER = {"answer_temperature": 0.6, "answer_top_p": 0.95, "answer_top_k": 30, "answer_min_p": 0.0}
_COLD_STOP = {"min_p": 0.001, "cold_stop_entropy": 0.01, "cold_stop_steps": 256}
_QWEN3 = {"temperature": 0.6, "top_p": 0.95, "top_k": 20, "min_p": 0.0}

_ALPHA: dict[tuple[str, str], tuple[float, ...]] = {
    ("qwen3-1.7b", "Qwen/Qwen3-1.7B"): (0.6, 0.5, 1.0, 0.5, 0.3),
    ("qwen3-8b", "Qwen/Qwen3-8B"): (0.5, 1.0, 1.0, 0.9, 0.9),
    ("r1-llama-8b", "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"): (0.1, 0.5, 0.7, 0.65, 0.7),
}
_DATA = ("gsm8k", "math500", "gpqa", "aime2024", "aime2025")


class Preset(NamedTuple):
    name: str
    model: str
    method: str
    sourced: Mapping[str, Mapping[str, Any]]
    """From a source to the values that it gives, by canonical name."""

    @property
    def values(self) -> dict[str, Any]:
        """All of it as a request would give it."""
        merged = {key: value for part in self.sourced.values() for key, value in part.items()}
        return {"method": self.method, **merged}


def _soft(name: str, model: str) -> Preset:
    """The readme gives sampling for QwQ-32B only; it is the same for the R1 distills here."""
    sourced = {_PAPER: {"max_topk": 10}, _README_ALL: _COLD_STOP, _README: _SAMPLING | _ANSWER}
    return Preset(name, model, "soft", sourced)


def _swireasoning() -> Iterator[Preset]:
    for (name, model), alphas in _ALPHA.items():
        for data, alpha in zip(_DATA, alphas, strict=True):
            sourced = {_SWI_ALPHA: {"swi_alpha": alpha}, _SWI_RUN: _QWEN3}
            yield Preset(f"{name}-swireasoning-{data}", model, "swireasoning", sourced)


def _selar(name: str, model: str, source: str, threshold: float) -> Preset:
    chosen = {"max_topk": 3, "selar_threshold": threshold}
    return Preset(name, model, "selar", {source: chosen, _SELAR_RUN: _QWEN3})


PRESETS: tuple[Preset, ...] = (
    Preset("qwq-32b", "Qwen/QwQ-32B", "soft",
           {_README: {"max_topk": 10} | _COLD_STOP | _SAMPLING | _ANSWER}),
    _soft("deepseek-r1-qwen-32b", "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B"),
    _soft("deepseek-r1-llama-70b", "deepseek-ai/DeepSeek-R1-Distill-Llama-70B"),
    Preset("qwq-32b-gumbel", "Qwen/QwQ-32B", "soft_gumbel",
           {_GUMBEL: {"max_topk": 5, "gumbel_temperature": 0.5, "min_p": 0.0}
            | _SAMPLING | _ANSWER}),
    *_swireasoning(),
    _selar("qwen3-8b-selar-gsm8k", "Qwen/Qwen3-8B", _SELAR_README, 0.5),
    _selar("qwen3-32b-selar-aime2024", "Qwen/Qwen3-32B", _SELAR_LOG, 0.4),
    _selar("qwen3-32b-selar-aime2025", "Qwen/Qwen3-32B", _SELAR_LOG, 0.6),
    Preset("r1-qwen-7b-multiplex", "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "multiplex",
           {_MULTIPLEX: {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "answer_temperature": 1.0,
                         "answer_top_p": 1.0, "answer_top_k": -1, "answer_min_p": 0.0},
            _MULTIPLEX_README: {"max_topk": 3, "multiplex_weighting": "mean"}}),
)  # fmt: skip
_BY_NAME = {preset.name: preset for preset in PRESETS}


def names() -> tuple[str, ...]:
    return tuple(_BY_NAME)


def find(name: Any) -> Preset:
    """Raises ValueError: there is no such preset; names the known ones."""
    if not isinstance(name, str) or name not in _BY_NAME:
        raise ValueError(f"{KEY}.preset must be one of {', '.join(names())}; got {name!r}.")
    return _BY_NAME[name]


def table() -> list[dict[str, str]]:
    """A row for each preset and source."""
    return [
        {
            "preset": preset.name,
            "model": preset.model,
            "method": preset.method,
            "values": ", ".join(f"{key} {value}" for key, value in part.items()),
            "source": source,
        }
        for preset in PRESETS
        for source, part in preset.sourced.items()
    ]
