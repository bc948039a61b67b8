"""What must hold before the first request: the run directory fits the run file, and the server
runs every method."""

from pathlib import Path
from typing import Any

import orjson

from sglang_soft_evals import benchmarks, provenance, runfile
from sglang_soft_evals.client import Client
from sglang_soft_evals.config import Method, RunConfig
from sglang_soft_evals.hub import Question
from sglang_soft_evals.rundir import RUN, read_info
from sglang_soft_evals.sample import Task, body, other_method, outcome

_NEVER_THOUGHT = (
    "no method was thinking in a trial; thinking tokens need a prompt that starts thinking and a "
    "server with --reasoning-parser"
)
START = "python -m sglang_soft.launch_server"


def save(path: Path, value: Any) -> None:
    """Write JSON. A kill leaves the old file or the new one."""
    fresh = path.with_suffix(".tmp")
    fresh.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n")
    fresh.replace(path)


def check_resumable(folder: Path, config: RunConfig) -> dict[str, Any] | None:
    """The `run.json` to resume, or None for a new run. Raises ValueError naming what differs."""
    if not (folder / RUN).exists():
        return None
    run = read_info(folder)
    # Through JSON, so that tuples and lists compare equal.
    differing = runfile.differences(run["config"], orjson.loads(orjson.dumps(config.to_dict())))
    if differing:
        found = "; ".join(differing)
        raise ValueError(f"{folder} holds another run: {found}. Choose another --out.")
    return run


async def check_methods(
    client: Client, config: RunConfig, question: Question
) -> tuple[dict[str, str | None], bool, list[str]]:
    """Ask for a short answer with every method.

    And begin an answer of full length, which is broken off: the context or a limit of the server
    may be too small for it.

    Returns:
        The thinking method that the server used for each method of the run file (None: discrete),
        whether any of them was thinking, and notes for the user.

    Raises:
        ValueError: the server refuses a method, uses another one, or does not run the plugin;
            names every such method, with the server's words.
    """
    served: dict[str, str | None] = {}
    refused, thought = [], False
    for method in config.methods:
        request = body(config, Task(method, question, 0, 0), question.question) | {"max_tokens": 4}
        completion = await client.chat(request)
        record = outcome(completion)
        problem = (
            record["error"]
            or await client.refusal(whole(config, method, question))
            or _problem(method, record["thinking_method"], client.base_url)
        )
        if completion.get("status") in (401, 403):
            problem = f"{problem} (give the key with --api-key or OPENAI_API_KEY)"
        if problem:
            refused.append(f"methods.{method.name}: {problem}")
        served[method.name] = record["thinking_method"]
        thought |= record["thinking_tokens"] > 0 or bool(record["reasoning"])
    if refused:
        found = "\n  ".join(refused)
        raise ValueError(f"the server cannot do what the run asks for; nothing was run:\n  {found}")
    notes = [] if thought else [_NEVER_THOUGHT]
    return served, thought, notes


def whole(config: RunConfig, method: Method, question: Question) -> dict[str, Any]:
    """The request that a run makes for a sample of this question."""
    template = config.prompt or benchmarks.get(config.benchmark).prompt
    prompt = benchmarks.render(template, question.question)
    return body(config, Task(method, question, 0, 0), prompt) | {"return_meta_info": False}


def check_same_server(run: dict[str, Any], now: dict[str, Any]) -> None:
    """Raises ValueError, naming what differs, if a resumed run would go on with another model,
    other server settings or other data. Both: `describe`."""
    before, after = run["provenance"], now["provenance"]
    found = [
        f"{name} was {before.get(name)!r}, is {after.get(name)!r}"
        for name in ("model", "data_sha256")
        if before.get(name) != after.get(name)
    ]
    old, new = before.get("server", {}), after.get("server", {})
    found += [
        f"server setting {name} was {old.get(name)!r}, is {new.get(name)!r}"
        for name in sorted((old.keys() | new.keys()) - provenance.OF_ONE_START)
        if old.get(name) != new.get(name)
    ]
    if found:
        raise ValueError(f"the run cannot go on: {'; '.join(found)}. Choose another --out.")


def check_same_methods(run: dict[str, Any], served: dict[str, str | None]) -> None:
    """Raises ValueError if a resumed run would go on with another thinking method."""
    for method in run["methods"]:
        before, now = method["thinking_method"], served[method["name"]]
        if before != now:
            raise ValueError(
                f"methods.{method['name']} was run with the thinking method {before!r}, and the "
                f"server now uses {now!r} (has its --soft-default changed?)."
            )


def _problem(method: Method, served: str | None, url: str) -> str | None:
    params = method.soft_thinking
    if params is not None and served is None:
        plugin = f"{url} does not run the plugin sglang_soft (start it with `{START}`)"
        return f"the answer has no meta_info.soft_thinking: {plugin}"
    asked = None if params is None else params.get("method") or served
    return other_method(asked, served)


async def describe(
    client: Client, config: RunConfig, questions: list[Question], served: dict[str, str | None]
) -> dict[str, Any]:
    """A new `run.json`."""
    models = await client.get("/v1/models")
    info = await client.get("/server_info")
    model = config.server.model
    if config.server.base_url is not None:
        model = models["data"][0]["id"] if models.get("data") else config.server.model
        if Path(model).parts[-2:] == ("sglang_soft", "bundled"):  # served by its path
            model = "bundled"
    methods = [
        {"name": m.name, "params": m.soft_thinking, "thinking_method": served[m.name]}
        for m in config.methods
    ]
    return {
        "config": config.to_dict(),
        "provenance": provenance.collect(config, model, info, questions),
        "methods": methods,
        "samples": config.samples,
        "questions": len(questions),
        "concurrency": config.concurrency,
        "wall_s": 0.0,
        "tokens_per_s": 0.0,
        "complete": False,
        "sessions": [],
    }
