"""The tables of `real`: what is asked, and what takes turns."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from launch.bench.hf_loop import SoftLoop
from launch.bench.methods import DISCRETE, measure_methods, methods_table
from launch.bench.requests import GREEDY, SAMPLING, Asked, step_seconds
from launch.bench.turns import Deadline, markdown, paired_ratio, spread, take_turns
from launch.bench.worker import Worker

PARTS = ("methods", "deterministic", "loop")
PROMPT = "<|im_start|>user\nWhat is {}*{}?<|im_end|>\n<|im_start|>assistant\n"
PROMPT_ROOM = 64
"""Tokens of a prompt, at most."""
SHORT = 2
"""Output tokens of the short run. The prompts are cached, so little is taken off."""
GRID = "soft, weight_bits 8"


class Plan(NamedTuple):
    """What all tables share."""

    model: Path
    tokens: int
    """Output tokens measured, of each request."""
    rounds: int
    """At most."""
    threads: int


class Section(NamedTuple):
    """One table."""

    weight: float
    """Its share of the time."""
    measure: Callable[[Deadline], str]
    """Markdown. Raises RuntimeError if the time does not hold two rounds."""


def engine(model: Path, batch: int, tokens: int, deterministic: bool) -> dict[str, Any]:
    """Arguments of `sglang.Engine`. batch: the largest."""
    return {
        "model_path": str(model),
        "random_seed": 0,
        "log_level": "error",
        "max_running_requests": batch,
        # Two engines are alive, and the cache of a CPU engine is the machine's memory.
        "max_total_tokens": max(2048, 2 * batch * (PROMPT_ROOM + SHORT + tokens)),
        "enable_deterministic_inference": deterministic,
    }


def sections(
    plan: Plan,
    workers: Sequence[Worker],
    parts: Sequence[str],
    batches: Sequence[int],
    methods: Sequence[str],
) -> list[Section]:
    """The tables, in the order of PARTS. workers: without deterministic inference, and with it if
    that is a part."""
    found = []
    asked = _asked(methods)
    # A request of a larger batch waits for the others: a round takes longer, not in proportion.
    dear = {batch: 1 + batch / 16 for batch in batches}
    for batch in batches if "methods" in parts else ():
        run = partial(_methods, plan, workers[0], batch, asked)
        found.append(Section((1 + len(asked)) * dear[batch], run))
    for batch in batches if "deterministic" in parts else ():
        run = partial(_deterministic, plan, workers, batch)
        found.append(Section(4 * dear[batch], run))
    if "loop" in parts:
        found.append(Section(3, partial(_loop, plan, workers[0])))
    return found


def _asked(methods: Sequence[str]) -> dict[str, Asked]:
    """By row. `now`: the prompt opens no thought, and the model knows no think tokens."""
    asked: dict[str, Asked] = {}
    for name in methods:
        asked[name] = {"method": name, "thinking_start": "now"}
        if name == "soft":
            asked[GRID] = {"method": name, "thinking_start": "now", "weight_bits": 8}
    return asked


def decode_rate(
    worker: Worker,
    batch: int,
    tokens: int,
    asked: Asked,
    sampling: Mapping[str, Any] = SAMPLING,
) -> float:
    """Output tokens a second of decoding. Raises RuntimeError if a thought ended early."""
    prompts = {"prompt": [PROMPT.format(11 + i, 97 - i) for i in range(batch)]}
    seconds = step_seconds(
        worker, prompts, [asked] * batch, tokens,
        least_thinking=1.0, short=SHORT, sampling=sampling,
    )  # fmt: skip
    return batch / seconds


def _about(plan: Plan, batch: int, rounds: int) -> str:
    return (
        f"{plan.tokens} output tokens measured, {plan.threads} OpenMP thread(s), {rounds} rounds; "
        f"batch {batch}; output tokens a second of decoding: median (min .. max); ratios: median "
        "of paired rounds (quartiles)"
    )


def _methods(
    plan: Plan, worker: Worker, batch: int, asked: dict[str, Asked], deadline: Deadline
) -> str:
    rate = partial(decode_rate, worker, batch, plan.tokens)
    found = measure_methods({"": rate}, plan.rounds, deadline, asked)
    (figures,) = found.values()
    lines = [f"**Methods**, {_about(plan, batch, len(figures[DISCRETE]))}:"]
    lines += ["", methods_table(found, digits=1)]
    if GRID in figures:
        lines.append(f"\n{GRID} / soft: {paired_ratio(figures[GRID], figures['soft'])}")
    return "\n".join(lines)


def _deterministic(plan: Plan, workers: Sequence[Worker], batch: int, deadline: Deadline) -> str:
    rows = {
        "discrete, greedy": (None, GREEDY), "discrete": (None, SAMPLING),
        "soft": (_asked(["soft"])["soft"], SAMPLING),
    }  # fmt: skip
    names = ("fast", "deterministic")
    figures = take_turns(
        {
            f"{row}, {name}": partial(decode_rate, worker, batch, plan.tokens, asked, sampling)
            for row, (asked, sampling) in rows.items()
            for name, worker in zip(names, workers, strict=True)
        },
        plan.rounds,
        deadline,
    )
    cells = []
    for row in rows:
        fast, slow = (figures[f"{row}, {name}"] for name in names)
        cells.append([row, spread(fast, 1), spread(slow, 1), paired_ratio(slow, fast)])
    about = _about(plan, batch, len(next(iter(figures.values()))))
    header = ["requests", *names, "deterministic / fast"]
    return f"**Deterministic inference**, {about}:\n\n{markdown(header, cells)}"


def _loop(plan: Plan, worker: Worker, deadline: Deadline) -> str:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(plan.model)
    loop = SoftLoop(plan.model, plan.threads)
    prompt = tokenizer.encode(PROMPT.format(11, 97))
    name = "plain Hugging Face loop"
    figures = take_turns(
        {
            "soft": partial(decode_rate, worker, 1, plan.tokens, _asked(["soft"])["soft"]),
            name: partial(loop.tokens_per_second, prompt, plan.tokens),
        },
        plan.rounds,
        deadline,
    )
    ratio = paired_ratio(figures["soft"], figures[name])
    rows = [[row, spread(values, 1)] for row, values in figures.items()]
    about = _about(plan, 1, len(figures[name]))
    table = markdown(["", "tokens/s: median (min .. max)"], rows)
    return f"**A loop without an engine**, {about}:\n\n{table}\n\nsoft / {name}: {ratio}"
