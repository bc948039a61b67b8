"""What must hold before the first request: the run directory fits the run file, and the server
runs every method."""

from pathlib import Path
from typing import Any, NamedTuple

import orjson

from sglang_soft_evals import benchmarks, controls, facts, forking, provenance, runfile
from sglang_soft_evals.client import Client
from sglang_soft_evals.config import Method, RunConfig
from sglang_soft_evals.counting import ThinkTokens
from sglang_soft_evals.hub import Question
from sglang_soft_evals.mixing import mixes
from sglang_soft_evals.rundir import RUN, read_info
from sglang_soft_evals.sample import Task, body, other_method, outcome

TRIAL_TOKENS = 4
NOT_STREAMED = ("return_meta_info", "return_token_ids")
"""Keys that SGLang refuses in a stream."""
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
    if config.controls:
        run["config"]["controls"] = list(config.controls)  # a run may get more of them
    return run


class Found(NamedTuple):
    """What a server answered before a run."""

    served: dict[str, str | None]
    """The thinking method of each method of the run file; None: discrete."""
    think: ThinkTokens
    notes: list[str]
    """For the user."""


async def check_methods(client: Client, config: RunConfig, questions: list[Question]) -> Found:
    """Ask every method for a short answer, and for one of full length that is stopped at once.

    Raises:
        ValueError: the server refuses a method, uses another one, or does not run the plugin;
            names every such method, with the server's words.
    """
    served: dict[str, str | None] = {}
    refused, thought, prompt_ids = [], False, None
    prompt = config.prompt or benchmarks.get(config.benchmark).prompt
    longest = max(questions, key=lambda question: len(question.question))
    text = benchmarks.render(prompt, longest.question)
    trials = controls.trials(config.controls, config.methods, config.sampling.max_tokens)
    for method in (*config.methods, *trials):
        request = body(config, Task(method, longest, 0, 0), text)
        short = request | {"max_tokens": min(TRIAL_TOKENS, config.sampling.max_tokens)}
        completion = await client.chat(short)
        record = outcome(completion)
        problem = record["error"] or _problem(method, record["thinking_method"], client.base_url)
        if problem is None and method.answers_per_thought > 1 and not forking.kept(completion):
            problem = "the server keeps no trace (its plugin is older than these evals)"
        if completion.get("status") in (401, 403):
            problem = f"{problem} (give the key with --api-key or OPENAI_API_KEY)"
        if problem is None:
            prompt_ids = completion["choices"][0].get("prompt_token_ids")
            for name in NOT_STREAMED:
                del request[name]
            problem = await client.refusal(request)
        if problem:
            refused.append(f"methods.{method.name}: {problem}")
        served[method.name] = record["thinking_method"]
        thought |= record["thinking_tokens"] > 0
    if refused:
        found = "\n  ".join(refused)
        raise ValueError(f"the server cannot do what the run asks for; nothing was run:\n  {found}")
    think = await facts.think_tokens(client, prompt_ids)
    return Found(served, think, _notes(config, served, thought or bool(think.is_open)))


def _notes(config: RunConfig, served: dict[str, str | None], thought: bool) -> list[str]:
    notes = []
    if not thought:
        notes.append(
            "no method was thinking in a trial; thinking needs a prompt or a model that starts it"
        )
    for method in config.methods:
        params = method.soft_thinking or {}
        temperature = params.get("temperature", config.sampling.temperature)
        if temperature == 0 and mixes(served[method.name]):
            notes.append(
                f"methods.{method.name}: at temperature 0 every thinking step mixes one token "
                "only, which is discrete decoding; set soft_thinking.temperature, such as 0.6"
            )
    return notes


def check_same_methods(run: dict[str, Any], served: dict[str, str | None]) -> None:
    """Raises ValueError if a resumed run would go on with another thinking method."""
    for method in run["methods"]:
        if "control" in method:
            continue  # it is served as its counterpart
        before, now = method["thinking_method"], served[method["name"]]
        if before != now:
            raise ValueError(
                f"methods.{method['name']} was run with the thinking method {before!r}, and the "
                f"server now uses {now!r} (has its --soft-default changed?)."
            )


def check_same_server(run: dict[str, Any], now: dict[str, Any]) -> None:
    """Raises ValueError if a resumed run would go on with another model, other server settings,
    other questions or another grader, and names what differs. now: `identity`."""
    before = run.get("identity") or {}
    found = []
    for name in before.keys() & now.keys():
        if isinstance(before[name], dict):
            if before[name] and now[name]:
                found += runfile.differences(before[name], now[name], f"{name}.")
        elif before[name] != now[name]:
            found.append(f"{name} was {before[name]!r}, is {now[name]!r}")
    if found:
        raise ValueError(
            f"the run was started with another model, server or data: {'; '.join(sorted(found))}. "
            "Choose another --out."
        )


async def identity(client: Client, config: RunConfig, questions: list[Question]) -> dict[str, Any]:
    """What must be the same when a run is resumed. Raises ServerGoneError."""
    models = await client.get("/v1/models")
    model = config.server.model
    if config.server.base_url is not None:
        data = models.get("data") if isinstance(models, dict) else None
        model = data[0]["id"] if data else model
        if Path(model).parts[-2:] == ("sglang_soft", "bundled"):  # served by its path
            model = "bundled"
    versions = provenance.versions()
    return {
        "model": model,
        "data (SHA-256 of the questions)": facts.fingerprint(questions),
        "server": orjson.loads(orjson.dumps(await facts.settings(client))),
        "grader": {name: versions[name] for name in provenance.GRADERS},
    }


def _problem(method: Method, served: str | None, url: str) -> str | None:
    params = method.soft_thinking
    if params is not None and served is None:
        plugin = (
            f"{url} does not run the plugin sglang_soft (start it with `{START}`), or something "
            "before it drops custom_params or return_meta_info"
        )
        return f"the answer has no meta_info.soft_thinking: {plugin}"
    asked = None if params is None else params.get("method") or served
    return other_method(asked, served)


async def describe(
    client: Client, config: RunConfig, identity: dict[str, Any], found: Found, questions: int
) -> dict[str, Any]:
    """A new `run.json`."""
    info = await client.get_if_there("/server_info")
    methods = [
        {
            "name": m.name,
            "params": m.soft_thinking,
            "thinking_method": found.served[m.name],
        }
        | ({"answers_per_thought": m.answers_per_thought} if m.answers_per_thought > 1 else {})
        for m in config.methods
    ]
    return {
        "config": config.to_dict(),
        "provenance": provenance.collect(config, identity["model"], info),
        "methods": methods,
        "samples": config.samples,
        "questions": questions,
        "concurrency": config.concurrency,
        "prompt_opens_thought": found.think.is_open,
        "identity": identity,
        "wall_s": 0.0,
        "tokens_per_s": 0.0,
        "complete": False,
        "sessions": [],
    }
