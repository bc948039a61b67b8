"""Run files: TOML or YAML in, a `RunConfig` out; and in what two runs differ."""

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sglang_soft_evals.config import Judge, Method, RunConfig, Sampling, Server, check

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_TABLES: dict[str, type] = {"server": Server, "sampling": Sampling, "judge": Judge}


def read(path: Path, base_url: str | None = None) -> RunConfig:
    """base_url: of a running server, for a run file that names none.

    Raises ValueError: no such file, not TOML or YAML, or a key that is unknown, missing or out of
    range."""
    if not path.is_file():
        raise ValueError(f"there is no run file {path}.")
    try:
        if path.suffix in (".yaml", ".yml"):
            import yaml

            raw = yaml.safe_load(path.read_text())
        else:
            raw = tomllib.loads(path.read_text())
    except Exception as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if base_url is not None and isinstance(raw, Mapping) and "server" not in raw:
        raw = {**raw, "server": {"base_url": base_url}}
    try:
        return from_dict(raw)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def from_dict(raw: Any) -> RunConfig:
    """Raises ValueError as `read`."""
    check(isinstance(raw, Mapping), "a run", "a table of keys", raw)
    values = dict(raw)
    for key, kind in _TABLES.items():
        if values.get(key) is not None:
            values[key] = _build(kind, values[key], f"{key}.")
    check(
        isinstance(values.get("methods"), list),
        "methods",
        "a list of tables",
        values.get("methods"),
    )
    values["methods"] = tuple(_build(Method, method, "methods.") for method in values["methods"])
    return _build(RunConfig, values, "")


def _build(kind: type, values: Any, prefix: str) -> Any:
    check(isinstance(values, Mapping), prefix.rstrip(".") or "a run", "a table of keys", values)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for key in values:
        if key not in fields:
            raise ValueError(f"unknown key {prefix}{key}; known keys: {', '.join(fields)}.")
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in values:
            hint = (
                ' (a table: model = "...", or base_url; or --base-url)' if name == "server" else ""
            )
            raise ValueError(f"{prefix}{name} is missing{hint}.")
    return kind(**{key: tuple(value) if key == "args" else value for key, value in values.items()})


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Keys in which two runs (as `to_dict`) differ, with both values. Where the server listens does
    not count."""
    found = []
    for key in sorted(old.keys() | new.keys()):
        before, after, name = old.get(key), new.get(key), f"{prefix}{key}"
        if name == "server.base_url":
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, f"{name}.")
        elif before != after:
            found.append(f"{name} was {before!r}, is {after!r}")
    return found
