"""How the run was made, so that somebody else can repeat it."""

from collections.abc import Iterator
from typing import Any

import orjson

from sglang_soft_evals.report.document import Block, Cell, Code, Paragraph, Section, Table
from sglang_soft_evals.report.numbers import NONE
from sglang_soft_evals.rundir import Run

_TEXTS = ("command", "prompt_template")


def provenance(run: Run) -> Section:
    """Versions, parameters, seeds, prompts, hardware, commit, concurrency, wall time."""
    info = run.info
    known = dict(info.get("provenance") or {})
    seeds = {r.seed for method in (*run.methods, *run.run_controls) for r in run.records(method)}
    seed_range = f"{len(seeds):,} different, {min(seeds)} to {max(seeds)}" if seeds else NONE
    facts = {key: value for key, value in _flat(known) if key not in _TEXTS} | {
        "concurrency": _text(info.get("concurrency")),
        "wall time, s": _text(info.get("wall_s")),
        "tokens/s of the whole run, all methods": _text(info.get("tokens_per_s")),
        "sessions (1 + times resumed)": str(len(info.get("sessions") or [])),
        "samples of each question": _text(info["samples"]),
        "questions": _text(info["questions"]),
        "sampling seeds": seed_range,
    }
    rows: list[dict[str, Cell]] = [{"what": key, "value": value} for key, value in facts.items()]
    parameters: list[dict[str, Cell]] = [
        {"method": name, "parameters": "none: discrete" if params is None else _json(params)}
        for name, params in run.methods.items()
    ]
    blocks: list[Block] = [Table(rows), Table(parameters)]
    if run.controls:
        blocks.append(Code("how the controls were made", _json(run.controls, indent=True)))
    blocks += [Code(key.replace("_", " "), str(known[key])) for key in _TEXTS if known.get(key)]
    blocks.append(Code("configuration", _json(info.get("config"), indent=True)))
    if info.get("sessions"):
        blocks.append(Code("sessions", _json(info["sessions"], indent=True)))
    tests = (
        "Bootstrap: 9,999 draws of questions; permutation test: 9,999 flips if it is not exact; "
        "both with seed 0."
    )
    blocks.append(Paragraph(tests))
    return Section("provenance", "How this run was made", blocks)


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}: ")
        else:
            yield f"{prefix}{key}", _text(value)


def _text(value: Any) -> str:
    return NONE if value is None else value if isinstance(value, str) else _json(value)


def _json(value: Any, *, indent: bool = False) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 if indent else 0).decode()
