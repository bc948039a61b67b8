"""What has to hold before the first request: the run directory fits the config, the server knows
every method."""

from pathlib import Path
from typing import Any

import orjson

from sglang_soft_evals import provenance, runfile
from sglang_soft_evals.client import Client
from sglang_soft_evals.config import RunConfig
from sglang_soft_evals.hub import Question
from sglang_soft_evals.sample import Task, body, outcome


def save(path: Path, value: Any) -> None:
    """Write JSON so that a kill leaves the old file or the new one."""
    fresh = path.with_suffix(".tmp")
    fresh.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n")
    fresh.replace(path)


def check_resumable(run_file: Path, config: RunConfig) -> dict[str, Any] | None:
    """The `run.json` to go on with, or None for a new run. Raises ValueError naming what
    differs."""
    if not run_file.exists():
        return None
    run = orjson.loads(run_file.read_bytes())
    # Through JSON, so that tuples and lists compare equal.
    differing = runfile.differences(run["config"], orjson.loads(orjson.dumps(config.to_dict())))
    if differing:
        raise ValueError(
            f"{run_file.parent} holds another run: {'; '.join(differing)}. Choose another --out."
        )
    return run


async def check_methods(client: Client, config: RunConfig, question: Question) -> list[str]:
    """Ask a short answer by every method; returns what the user should know.

    Raises:
        ValueError: the server refuses methods; names each with the server's words.
    """
    refused, notes, thought = [], [], False
    for method in config.methods:
        request = body(config, Task(method, question, 0, 0), question.question) | {"max_tokens": 4}
        completion = await client.chat(request)
        if "error" in completion:
            refused.append(f"methods.{method.name}: {completion['error']}")
            continue
        thought |= outcome(completion)["thinking_tokens"] > 0
    if refused:
        raise ValueError(
            "the server refuses what the run asks for, nothing was run:\n  " + "\n  ".join(refused)
        )
    if not thought:
        notes.append(
            "no method thought in a trial; thinking tokens need a thinking prompt and --reasoning-parser"
        )
    return notes


async def describe(client: Client, config: RunConfig, questions: int) -> dict[str, Any]:
    """A new `run.json`."""
    models = await client.get("/v1/models")
    info = await client.get("/server_info")
    model = config.server.model
    if config.server.base_url is not None:
        model = models["data"][0]["id"] if models.get("data") else config.server.model
        if Path(model).parts[-2:] == ("sglang_soft", "bundled"):  # served by its path
            model = "bundled"
    return {
        "config": config.to_dict(),
        "provenance": provenance.collect(config, model, info),
        "methods": [{"name": m.name, "params": m.soft_thinking} for m in config.methods],
        "samples": config.samples,
        "questions": questions,
        "concurrency": config.concurrency,
        "wall_s": 0.0,
        "tokens_per_s": 0.0,
        "complete": False,
        "sessions": [],
    }
