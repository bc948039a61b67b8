"""A run: one TOML (or YAML) file that says which server, benchmark, methods and sampling.

benchmark = "arith"
samples = 4                                    # of every question, for every method

[server]
model = "bundled"                              # starts a server; or base_url = "http://127.0.0.1:30000"

[sampling]                                     # of every method
temperature = 0.6
max_tokens = 256

[[methods]]
name = "hard"                                  # no soft_thinking: plain decoding

[[methods]]
name = "soft"
soft_thinking = {max_topk = 10}
"""

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sglang_soft_evals import benchmarks

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def _check(ok: bool, key: str, allowed: str, value: Any) -> None:
    if not ok:
        raise ValueError(f"{key} must be {allowed}; got {value!r}.")


def _integer(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    base_url: str | None = None
    """A running server, as `http://host:port`; without it one is started."""
    model: str = "default"
    """What to start (`bundled`: the bundled model), or the name that requests to `base_url` carry."""
    args: tuple[str, ...] = ()
    """More flags of `python -m sglang_soft.launch_server`."""

    def __post_init__(self) -> None:
        url = self.base_url
        _check(url is None or url.startswith(("http://", "https://")), "server.base_url", "http(s)://host:port", url)
        _check(url is not None or self.model != "default", "server.model", "set where base_url is not", self.model)
        _check(url is None or not self.args, "server.args", "empty where base_url is set", list(self.args))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Sent with every request of every method."""

    temperature: float = 0.6
    top_p: float = 0.95
    top_k: int = 30
    min_p: float = 0.0
    max_tokens: int = 32768
    """Thinking and answer together."""

    def __post_init__(self) -> None:
        _check(_number(self.temperature) and self.temperature >= 0, "sampling.temperature", ">= 0", self.temperature)
        _check(_number(self.top_p) and 0 < self.top_p <= 1, "sampling.top_p", "in (0, 1]", self.top_p)
        _check(self.top_k == -1 or _integer(self.top_k, 1), "sampling.top_k", "-1 (all) or >= 1", self.top_k)
        _check(_number(self.min_p) and 0 <= self.min_p <= 1, "sampling.min_p", "in [0, 1]", self.min_p)
        _check(_integer(self.max_tokens, 1), "sampling.max_tokens", "an integer >= 1", self.max_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    name: str
    """In the report."""
    soft_thinking: Mapping[str, Any] | None = None
    """Sent as `custom_params.soft_thinking`, which the server checks; None: plain decoding."""

    def __post_init__(self) -> None:
        _check(isinstance(self.name, str) and self.name.strip() != "", "methods.name", "a text", self.name)
        given = self.soft_thinking
        _check(given is None or isinstance(given, Mapping), f"methods.{self.name}.soft_thinking", "a table", given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """A model behind an OpenAI-compatible endpoint that is asked where the grader says no; one prompt for all."""

    base_url: str
    """Up to and with `/v1`."""
    model: str
    api_key_env: str | None = None
    """Environment variable that holds the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    benchmark: str
    server: Server
    methods: tuple[Method, ...]
    sampling: Sampling = field(default_factory=Sampling)
    data: str | None = None
    """A local file of questions instead of the benchmark's own source."""
    prompt: str | None = None
    """Instead of the benchmark's own; see `benchmarks.template`."""
    questions: int | None = None
    """Only the first so many; for `arith`, how many to draw."""
    samples: int = 1
    seed: int = 0
    concurrency: int = 32
    """Requests in flight."""
    timeout_s: float = 14400
    """Of one request."""
    judge: Judge | None = None

    def __post_init__(self) -> None:
        row = benchmarks.get(self.benchmark)
        benchmarks.template(self.prompt or row.prompt)
        _check(self.questions is None or _integer(self.questions, 1), "questions", "an integer >= 1", self.questions)
        _check(_integer(self.samples, 1), "samples", "an integer >= 1", self.samples)
        _check(_integer(self.seed, 0), "seed", "an integer >= 0", self.seed)
        _check(_integer(self.concurrency, 1), "concurrency", "an integer >= 1", self.concurrency)
        _check(_number(self.timeout_s) and self.timeout_s > 0, "timeout_s", "> 0 seconds", self.timeout_s)
        _check(len(self.methods) > 0, "methods", "at least one", [])
        names = [method.name for method in self.methods]
        for name in names:
            _check(names.count(name) == 1, "methods.name", "different for each method", name)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


_TABLES: dict[str, type] = {"server": Server, "sampling": Sampling, "judge": Judge}


def read(path: Path) -> RunConfig:
    """Raises ValueError: no such file, not TOML or YAML, or a key that is unknown, missing or out of range."""
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
    try:
        return from_dict(raw)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def from_dict(raw: Any) -> RunConfig:
    """Raises ValueError as `read`."""
    _check(isinstance(raw, Mapping), "a run", "a table of keys", raw)
    values = dict(raw)
    for key, kind in _TABLES.items():
        if values.get(key) is not None:
            values[key] = _build(kind, values[key], f"{key}.")
    _check(isinstance(values.get("methods"), list), "methods", "a list of tables", values.get("methods"))
    values["methods"] = tuple(_build(Method, method, "methods.") for method in values["methods"])
    return _build(RunConfig, values, "")


def _build(kind: type, values: Any, prefix: str) -> Any:
    _check(isinstance(values, Mapping), prefix.rstrip(".") or "a run", "a table of keys", values)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for key in values:
        if key not in fields:
            raise ValueError(f"unknown key {prefix}{key}; known keys: {', '.join(fields)}.")
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise ValueError(f"{prefix}{name} is missing.")
    return kind(**{key: tuple(value) if key == "args" else value for key, value in values.items()})


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Keys in which two runs (as `to_dict`) differ, with both values. Where the server listens does not count."""
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
