"""The runs of the paper's tables (arXiv 2505.15778): three models, seven benchmarks, the ablation.

`sglang-soft eval run paper:NAME` starts one; `sglang-soft eval paper NAME` prints its run file.

Two things differ from the paper's scripts, so that the comparison is fair. Every method gets the
same number of samples and the same grader. And there is the control that the paper lacks: sampled
CoT with the same Cold Stop. The parameters of Soft Thinking are the paper's.
"""

from pathlib import Path
from typing import Any, NamedTuple


class Model(NamedTuple):
    path: str
    """On the Hugging Face hub."""
    max_topk: int
    """n of the paper."""
    hidden_size: int
    """Of its config.json."""


BYTES = 2
"""Of an element in bfloat16."""
MODELS = {
    "qwq-32b": Model("Qwen/QwQ-32B", 15, 5120),
    "r1-distill-qwen-32b": Model("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", 10, 5120),
    "r1-distill-llama-70b": Model("deepseek-ai/DeepSeek-R1-Distill-Llama-70B", 10, 8192),
}
SAMPLES = {
    "math500": 4,
    "aime2024": 32,
    "gsm8k": 2,
    "gpqa_diamond": 8,
    "humaneval": 8,
    "mbpp": 4,
    "livecodebench": 4,
}
"""Samples of every question: the fewer questions, the more samples."""
ABLATION = ("aime2024", "livecodebench")
NAMES = (
    *(f"{model}/{benchmark}" for model in MODELS for benchmark in SAMPLES),
    *(f"ablation/{benchmark}" for benchmark in ABLATION),
)
COLD_STOP = {"cold_stop_entropy": 0.01, "cold_stop_steps": 256}

_HEADER = """\
# {title}
# `sglang-soft eval paper {name}` prints this file.
benchmark = "{benchmark}"
samples = {samples}
concurrency = {concurrency}

[server]
model = "{path}"
args = [{args}]

[sampling]
temperature = 0.6
top_p = 0.95
top_k = 30
min_p = 0.001
max_tokens = {max_tokens}
"""
ARGS = ("--reasoning-parser", "deepseek-r1", "--tp-size", "8")
CONCURRENCY, MAX_TOKENS = 64, 32768


def vector_args(model: "Model") -> tuple[str, ...]:
    """Flags for COCONUT-TF, whose hidden states are kept until the end of a request."""
    each = -(-MAX_TOKENS * model.hidden_size * BYTES // 2**20)
    return (
        *("--soft-max-vector-mb", str(each)),
        *("--soft-max-vector-mb-total", str(each * CONCURRENCY)),
        *("--return-hidden-states-mode", "last"),
    )


Methods = dict[str, dict[str, Any] | None]


def main_rows(model: Model) -> Methods:
    """The rows of the main tables, and the control."""
    return {
        "CoT": None,
        "CoT, greedy": {"method": "cot", "temperature": 0.0, "answer_temperature": 0.0},
        "CoT + Cold Stop": {"method": "cot", **COLD_STOP},
        "Soft Thinking": {"method": "soft", "max_topk": model.max_topk, **COLD_STOP},
    }


def ablation_rows(model: Model) -> Methods:
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


def text(name: str) -> str:
    """The run file of one of NAMES. Raises ValueError for another name."""
    if name not in NAMES:
        raise ValueError(f"a run of the paper must be one of {', '.join(NAMES)}; got {name!r}.")
    table, benchmark = name.split("/")
    args: tuple[str, ...] = ARGS
    if table == "ablation":
        model = MODELS["qwq-32b"]
        title, rows = "the paper's ablation, and the controls", ablation_rows(model)
        args += vector_args(model)
    else:
        model = MODELS[table]
        title, rows = "a row of the paper's main tables, and the control", main_rows(model)
    written = _HEADER.format(
        title=f"{model.path} on {benchmark}: {title}",
        name=name,
        benchmark=benchmark,
        samples=SAMPLES[benchmark],
        path=model.path,
        args=", ".join(f'"{arg}"' for arg in args),
        concurrency=CONCURRENCY,
        max_tokens=MAX_TOKENS,
    )
    for method, params in rows.items():
        written += f'\n[[methods]]\nname = "{method}"\n'
        if params is not None:
            pairs = (f"{k} = {v!r}".replace("'", '"') for k, v in params.items())
            written += f"soft_thinking = {{{', '.join(pairs)}}}\n"
    return written


def table() -> list[dict[str, str]]:
    """Every run, for the command line and the docs."""
    rows = []
    for name in NAMES:
        first, benchmark = name.split("/")
        model = MODELS["qwq-32b" if first == "ablation" else first]
        samples = str(SAMPLES[benchmark])
        rows.append({"name": name, "model": model.path, "benchmark": benchmark, "samples": samples})
    return rows


def write(folder: Path) -> list[Path]:
    """Write every run file below `folder`, to edit them."""
    paths = []
    for name in NAMES:
        path = folder / f"{name}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text(name))
        paths.append(path)
    return paths
