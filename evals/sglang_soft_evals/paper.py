"""Run files of every row of the paper's tables (arXiv 2505.15778): three models, seven benchmarks,
the ablation.

They differ from the paper's scripts in what makes a comparison fair: as many samples for Soft
Thinking as for CoT, one grader, and the control that the paper lacks, sampled CoT with the same
Cold Stop. Parameters of Soft Thinking are the paper's: T 0.6, top-k 30, top-p 0.95, min-p 0.001; n
15 for QwQ and 10 for the distilled models; tau 0.01, N 256.
"""

from pathlib import Path
from typing import Any, NamedTuple


class Model(NamedTuple):
    name: str
    path: str
    """On the hub."""
    max_topk: int
    """n of the paper."""


MODELS = (
    Model("qwq-32b", "Qwen/QwQ-32B", 15),
    Model("r1-distill-qwen-32b", "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", 10),
    Model("r1-distill-llama-70b", "deepseek-ai/DeepSeek-R1-Distill-Llama-70B", 10),
)
SAMPLES = {
    "math500": 4,
    "aime2024": 32,
    "gsm8k": 2,
    "gpqa_diamond": 8,
    "humaneval": 8,
    "mbpp": 4,
    "livecodebench": 4,
}
"""Of every question, for every method: the fewer questions, the more samples."""
ABLATION = ("aime2024", "livecodebench")
COLD_STOP = {"cold_stop_entropy": 0.01, "cold_stop_steps": 256}

_HEADER = """# {title}
# Written by `sglang-soft eval paper evals/runs/paper`.
benchmark = "{benchmark}"
samples = {samples}
concurrency = 64

[server]
model = "{path}"
args = ["--reasoning-parser", "deepseek-r1", "--tp-size", "8"]

[sampling]
temperature = 0.6
top_p = 0.95
top_k = 30
min_p = 0.001
max_tokens = 32768
"""


def methods(model: Model) -> dict[str, dict[str, Any] | None]:
    """The rows of the main tables, and the control."""
    soft = {"method": "soft", "max_topk": model.max_topk}
    return {
        "CoT": None,
        "CoT, greedy": {"method": "cot", "temperature": 0.0, "answer_temperature": 0.0},
        "CoT + Cold Stop": {"method": "cot", **COLD_STOP},
        "Soft Thinking": {**soft, **COLD_STOP},
    }


def ablation(model: Model) -> dict[str, dict[str, Any] | None]:
    """The rows of the ablation, and the controls."""
    soft = {"method": "soft", "max_topk": model.max_topk}
    return {
        "CoT": None,
        "CoT + Cold Stop": {"method": "cot", **COLD_STOP},
        "COCONUT-TF": {"method": "coconut_tf"},
        "Average embedding": {"method": "average", "max_topk": 5},
        "Soft Thinking without Cold Stop": soft,
        "Soft Thinking": {**soft, **COLD_STOP},
    }


def files() -> dict[str, str]:
    """Every run file by its path below the folder of the paper's runs."""
    made = {}
    for model in MODELS:
        for benchmark, samples in SAMPLES.items():
            title = f"{model.path} on {benchmark}: a row of the paper's main tables, with the control it lacks"
            made[f"{model.name}/{benchmark}.toml"] = _text(
                title, benchmark, samples, model, methods(model)
            )
    for benchmark in ABLATION:
        title = f"{MODELS[0].path} on {benchmark}: the paper's ablation, with controls"
        made[f"ablation/{benchmark}.toml"] = _text(
            title, benchmark, SAMPLES[benchmark], MODELS[0], ablation(MODELS[0])
        )
    return made


def _text(
    title: str, benchmark: str, samples: int, model: Model, rows: dict[str, dict[str, Any] | None]
) -> str:
    text = _HEADER.format(title=title, benchmark=benchmark, samples=samples, path=model.path)
    for name, params in rows.items():
        text += f'\n[[methods]]\nname = "{name}"\n'
        if params is not None:
            inline = ", ".join(
                f'{k} = "{v}"' if isinstance(v, str) else f"{k} = {v}" for k, v in params.items()
            )
            text += f"soft_thinking = {{{inline}}}\n"
    return text


def write(folder: Path) -> list[Path]:
    """Write the run files below `folder`."""
    paths = []
    for name, text in files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        paths.append(path)
    return paths
