"""Run files: TOML or YAML in, a `RunConfig` out; and the differences between two runs."""

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sglang_soft_evals import paper
from sglang_soft_evals.config import Judge, Method, RunConfig, Sampling, Server
from sglang_soft_evals.rules import check

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PAPER = "paper:"
"""Begins the name of a run of the paper, in place of a file."""
_TABLES: dict[str, type] = {"server": Server, "sampling": Sampling, "judge": Judge}


def read(source: str | Path, base_url: str | None = None) -> RunConfig:
    """Read a run file.

    Args:
        source: a file, or `paper:NAME` for a run of the paper (`paper.NAMES`).
        base_url: of a running server, for a run file that names none.

    Raises:
        ValueError: no such file, not TOML or YAML, or a key that is unknown, missing or out of
            range.
    """
    text, yaml = _text(source)
    try:
        raw = _yaml(text) if yaml else tomllib.loads(text)
    except Exception as error:
        raise ValueError(f"{source} cannot be read: {error}") from error
    if base_url is not None and isinstance(raw, Mapping) and "server" not in raw:
        raw = {**raw, "server": {"base_url": base_url}}
    try:
        return from_dict(raw)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def name_of(source: str | Path) -> str:
    """The default name of the run directory, below `results/`."""
    return str(source).removeprefix(PAPER) if _is_paper(source) else Path(source).stem


def from_dict(raw: Any) -> RunConfig:
    """Raises ValueError as `read`."""
    check(isinstance(raw, Mapping), "a run", "a table of keys", raw)
    values = dict(raw)
    for key, kind in _TABLES.items():
        if values.get(key) is not None:
            values[key] = _build(kind, values[key], f"{key}.")
    methods = values.get("methods")
    check(isinstance(methods, list), "methods", "a list of tables", methods)
    values["methods"] = tuple(_build(Method, method, "methods.") for method in values["methods"])
    if (asked := values.get("controls")) is not None:
        check(isinstance(asked, list | tuple), "controls", "a list of texts", asked)
        values["controls"] = tuple(asked)
    return _build(RunConfig, values, "")


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Keys in which two runs (as `to_dict`) differ, with both values. The address of the server
    does not count, nor do controls that a run had not asked for: they can be added to it."""
    found = []
    for key in sorted(old.keys() | new.keys()):
        before, after, name = old.get(key), new.get(key), f"{prefix}{key}"
        if name == "server.base_url":
            continue
        if name == "controls" and set(before or ()) <= set(after or ()):
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, f"{name}.")
        elif before != after:
            found.append(f"{name} was {before!r}, is {after!r}")
    return found


def _is_paper(source: str | Path) -> bool:
    return isinstance(source, str) and source.startswith(PAPER)


def _text(source: str | Path) -> tuple[str, bool]:
    """(text of a run file, whether it is YAML)."""
    if _is_paper(source):
        return paper.text(str(source).removeprefix(PAPER)), False
    path = Path(source)
    if not path.is_file():
        raise ValueError(f"there is no run file {path}.")
    return path.read_text(), path.suffix in (".yaml", ".yml")


def _yaml(text: str) -> Any:
    import yaml

    return yaml.safe_load(text)


def _build(kind: type, values: Any, prefix: str) -> Any:
    check(isinstance(values, Mapping), prefix.rstrip(".") or "a run", "a table of keys", values)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for key in values:
        if key not in fields:
            raise ValueError(f"unknown key {prefix}{key}; known keys: {', '.join(fields)}.")
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in values:
            table = ' (a table: model = "...", or base_url; or --base-url)'
            raise ValueError(f"{prefix}{name} is missing{table if name == 'server' else ''}.")
    args = values.get("args")
    if kind is Server and args is not None:
        check(isinstance(args, list | tuple), "server.args", "a list of texts", args)
        values = {**values, "args": tuple(args)}
    return kind(**values)
