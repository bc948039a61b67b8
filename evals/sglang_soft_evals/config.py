"""A run: one TOML (or YAML) file that says which server, benchmark, methods and sampling.

benchmark = "arith"
samples = 4                                    # of every question, for every method

[server] model = "bundled"                              # starts a server; or base_url =
"http://127.0.0.1:30000"

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
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sglang_soft_evals import benchmarks


def check(ok: bool, key: str, allowed: str, value: Any) -> None:
    """Raises ValueError naming key, range and value."""
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
    """What to start (`bundled`: the bundled model), or the name that requests to `base_url`
    carry."""
    args: tuple[str, ...] = ()
    """More flags of `python -m sglang_soft.launch_server`."""

    def __post_init__(self) -> None:
        url = self.base_url
        check(
            url is None or url.startswith(("http://", "https://")),
            "server.base_url",
            "http(s)://host:port",
            url,
        )
        check(
            url is not None or self.model != "default",
            "server.model",
            "set where base_url is not",
            self.model,
        )
        check(
            url is None or not self.args,
            "server.args",
            "empty where base_url is set",
            list(self.args),
        )


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
        check(
            _number(self.temperature) and self.temperature >= 0,
            "sampling.temperature",
            ">= 0",
            self.temperature,
        )
        check(
            _number(self.top_p) and 0 < self.top_p <= 1, "sampling.top_p", "in (0, 1]", self.top_p
        )
        check(
            self.top_k == -1 or _integer(self.top_k, 1),
            "sampling.top_k",
            "-1 (all) or >= 1",
            self.top_k,
        )
        check(
            _number(self.min_p) and 0 <= self.min_p <= 1, "sampling.min_p", "in [0, 1]", self.min_p
        )
        check(
            _integer(self.max_tokens, 1), "sampling.max_tokens", "an integer >= 1", self.max_tokens
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    name: str
    """In the report."""
    soft_thinking: Mapping[str, Any] | None = None
    """Sent as `custom_params.soft_thinking`, which the server checks; None: plain decoding."""

    def __post_init__(self) -> None:
        check(
            isinstance(self.name, str) and self.name.strip() != "",
            "methods.name",
            "a text",
            self.name,
        )
        given = self.soft_thinking
        check(
            given is None or isinstance(given, Mapping),
            f"methods.{self.name}.soft_thinking",
            "a table",
            given,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """A model behind an OpenAI-compatible endpoint that is asked where the grader says no; one
    prompt for all."""

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
        check(
            self.questions is None or _integer(self.questions, 1),
            "questions",
            "an integer >= 1",
            self.questions,
        )
        check(_integer(self.samples, 1), "samples", "an integer >= 1", self.samples)
        check(_integer(self.seed, 0), "seed", "an integer >= 0", self.seed)
        check(_integer(self.concurrency, 1), "concurrency", "an integer >= 1", self.concurrency)
        check(
            _number(self.timeout_s) and self.timeout_s > 0,
            "timeout_s",
            "> 0 seconds",
            self.timeout_s,
        )
        check(len(self.methods) > 0, "methods", "at least one", [])
        names = [method.name for method in self.methods]
        for name in names:
            check(names.count(name) == 1, "methods.name", "different for each method", name)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)
