"""The figures of `gpu` by batch size: which engines are started, and what they take turns at."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from launch.bench.methods import measure_methods, methods_table
from launch.bench.plan import PROMPT_TOKENS, SPARE_TOKENS, Plan, prompts
from launch.bench.requests import step_seconds
from launch.bench.shapes import SHAPES, THINK_END, THINK_START
from launch.bench.turns import Deadline, markdown, paired_ratio, spread, take_turns
from launch.bench.worker import Worker

THINK = {"SGLANG_SOFT_THINK_START": str(THINK_START), "SGLANG_SOFT_THINK_END": str(THINK_END)}
SOFT, ONE, DISCRETE, PLAIN = KINDS = ("soft", "one soft", "discrete", "discrete without plugin")
RATIOS = ((SOFT, DISCRETE), (ONE, DISCRETE), (DISCRETE, PLAIN))
Figures = dict[int, dict[str, list[float]]]
"""[rounds] figures by batch size and kind."""


def decode_rate(worker: Worker, plan: Plan, methods: list[str | None]) -> float:
    """Output tokens a second of decoding; methods: one a request, None: discrete."""
    # A trained model may end its thinking; random weights do not.
    least = 0.98 if plan.model in SHAPES else 0.0
    batch = len(methods)
    seconds = step_seconds(worker, prompts(batch), methods, plan.tokens, least_thinking=least)
    return batch / seconds


def start(plan: Plan, path: Path, plugin: bool, deadline: Deadline, **engine: Any) -> Worker:
    """An engine with room for the plan's largest batch; engine: arguments besides the plan's."""
    arguments = plan.engine(path) | engine
    worker = Worker(plugin=plugin, engine=arguments, env=THINK, deadline=deadline)
    with ExitStack() as stack:
        stack.enter_context(worker)
        if worker.ready().cache_tokens < plan.cache_tokens - SPARE_TOKENS:
            raise RuntimeError(  # requests would wait for each other
                f"{plan.model}: room for {worker.cache_tokens} tokens of {plan.cache_tokens}; "
                "fewer --batches"
            )
        stack.pop_all()
    return worker


def runs_of(worker: Worker, plan: Plan, batch: int, plugin: bool) -> dict[str, Callable[[], float]]:
    """What an engine takes turns at. `one soft` is measured at the largest batch."""
    kinds: dict[str, list[str | None]] = {PLAIN: [None] * batch}
    if plugin:
        kinds = {SOFT: ["soft"] * batch, DISCRETE: [None] * batch}
        if 1 < batch == max(plan.batches):
            kinds[ONE] = ["soft", *[None] * (batch - 1)]
    return {kind: partial(decode_rate, worker, plan, methods) for kind, methods in kinds.items()}


def measure(
    plan: Plan, path: Path, rounds: int, deadline: Deadline, done: Callable[[Figures], None]
) -> None:
    """Calls `done` with all figures so far after each batch."""
    found: Figures = {batch: {} for batch in plan.batches}
    for plugins in [(True, False)] if plan.together else [(True,), (False,)]:
        with ExitStack() as stack:
            workers = [
                (stack.enter_context(start(plan, path, plugin, deadline)), plugin)
                for plugin in plugins
            ]
            for batch in plan.batches:
                runs: dict[str, Callable[[], float]] = {}
                for worker, plugin in workers:
                    runs |= runs_of(worker, plan, batch, plugin)
                found[batch] |= take_turns(runs, rounds, deadline)
                done(found)


def measure_every_method(
    plan: Plan, path: Path, rounds: int, batch: int, deadline: Deadline
) -> str:
    """The table. coconut_tf reads hidden states: this engine's graphs return them, for all
    alike."""
    with start(plan, path, True, deadline, return_hidden_states_mode="last") as worker:

        def rate(method: str | None) -> float:
            return decode_rate(worker, plan, [method] * batch)

        return methods_table(measure_methods({"": rate}, rounds, deadline))


def table(plan: Plan, figures: Figures, rounds: int) -> str:
    """Markdown; what is not measured (yet) is empty."""
    lines = [
        f"**{plan.model}**, {PROMPT_TOKENS} prompt tokens, {plan.tokens} output tokens measured, "
        f"{rounds} rounds at most; output tokens a second of decoding: median (min .. max); "
        "ratios: median of paired rounds (quartiles)."
    ]
    if not plan.together:
        lines.append(
            "The engine without the plugin ran after the other one: memory does not hold both."
        )
    if plan.left_out:
        lines.append(f"Left out, as this machine's memory does not hold it: batch {plan.left_out}.")
    rows = []
    for batch in plan.batches:
        found = figures.get(batch, {})
        row = [batch, *(spread(found[kind]) if kind in found else "" for kind in KINDS)]
        for top, bottom in RATIOS:
            both = top in found and bottom in found
            # Rounds that the time limit cut on one engine only have no partner.
            pairs = list(zip(found[top], found[bottom])) if both else []
            row.append(str(paired_ratio(*zip(*pairs))) if pairs else "")
        rows.append(row)
    header = ["batch", *KINDS, *(f"{top} / {bottom}" for top, bottom in RATIOS)]
    return "\n".join(lines) + "\n\n" + markdown(header, rows)
