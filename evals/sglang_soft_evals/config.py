"""A run: one TOML (or YAML) file that names the server, benchmark, sampling and methods.

benchmark = "arith"
samples = 4                      # of every question, for every method

[server]
model = "bundled"                # starts a server; or base_url = "http://127.0.0.1:30000"

[sampling]                       # of every method
temperature = 0.6
max_tokens = 256

[[methods]]
name = "discrete"                # no soft_thinking: plain decoding

[[methods]]
name = "soft"
soft_thinking = {max_topk = 10}
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sglang_soft_evals import address, benchmarks
from sglang_soft_evals.graders import GRADERS
from sglang_soft_evals.rules import TEXT, Rule, check, check_fields, integer, number, optional

_OWN_FLAGS = ("--host", "--port")
HIDDEN = "..."
"""In place of a key, in what is written to files."""


def _normalised(settings: Any, prefix: str, normal: Callable[[object], str]) -> None:
    """Put `base_url` of a frozen dataclass into one form. Raises ValueError naming the key."""
    try:
        object.__setattr__(settings, "base_url", normal(settings.base_url))
    except ValueError as error:
        raise ValueError(f"{prefix}base_url {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    base_url: str | None = None
    """A running server, as `http://host:port`; if it is None, the run starts one."""
    model: str = "default"
    """What to start (`bundled`: the toy model), or the model name in requests to `base_url`."""
    args: tuple[str, ...] = ()
    """More flags of `python -m sglang_soft.launch_server`."""

    def __post_init__(self) -> None:
        started, args = self.base_url is None, list(self.args)
        if not started:
            _normalised(self, "server.", address.root)
        check_fields(self, "server.", model=TEXT)
        set_model = not started or self.model != "default"
        check(set_model, "server.model", "set if there is no base_url", self.model)
        check(started or not args, "server.args", "empty if there is a base_url", args)
        texts = all(isinstance(arg, str) for arg in args)
        check(texts, "server.args", "a list of texts", args)
        for arg in args:
            own = arg.split("=")[0] in _OWN_FLAGS
            check(not own, "server.args", "without --host and --port, which the run chooses", arg)

    @property
    def api_key(self) -> str | None:
        """The key that `args` gives the server."""
        for index, arg in enumerate(self.args):
            flag, given, value = arg.partition("=")
            if flag == "--api-key":
                return value if given else "".join(self.args[index + 1 : index + 2])
        return None

    def shown(self) -> dict[str, Any]:
        """As a dictionary, without keys."""
        args = list(self.args)
        for index, arg in enumerate(args):
            flag, given, _ = arg.partition("=")
            if flag.endswith("-key"):
                args[index] = f"{flag}={HIDDEN}" if given else flag
                if not given and index + 1 < len(args):
                    args[index + 1] = HIDDEN
        url = self.base_url and re.sub(r"//[^/]*@", f"//{HIDDEN}@", self.base_url)
        return {"base_url": url, "model": self.model, "args": args}


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
        check_fields(
            self,
            "sampling.",
            temperature=number(">= 0", lambda v: v >= 0),
            top_p=number("in (0, 1]", lambda v: 0 < v <= 1),
            top_k=Rule("-1 (off) or >= 1", lambda v: v == -1 or integer(1).holds(v)),
            min_p=number("in [0, 1]", lambda v: 0 <= v <= 1),
            max_tokens=integer(1),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    name: str
    """In the report."""
    soft_thinking: Mapping[str, Any] | None = None
    """Sent as `custom_params.soft_thinking`, which the server checks; None: discrete decoding."""
    answers_per_thought: int = 1
    """So many samples go on from one thought (`forking`)."""

    def __post_init__(self) -> None:
        check_fields(self, "methods.", name=TEXT)
        table = optional(Rule("a table", lambda v: isinstance(v, Mapping)))
        prefix, forks = f"methods.{self.name}.", self.answers_per_thought
        check_fields(self, prefix, soft_thinking=table, answers_per_thought=integer(1))
        plain = '1 without soft_thinking (plain thoughts: method = "cot")'
        check(self.soft_thinking is not None or forks == 1, f"{prefix}answers_per_thought", plain,
              forks)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """A model that is asked about answers that the grader calls wrong, with one prompt for all."""

    base_url: str
    """Of an OpenAI-compatible endpoint, `/v1` included."""
    model: str
    api_key_env: str | None = None
    """Environment variable that holds the key."""

    def __post_init__(self) -> None:
        _normalised(self, "judge.", address.api)
        check_fields(self, "judge.", model=TEXT, api_key_env=optional(TEXT))


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
    grader: str | None = None
    """Instead of the benchmark's own: a key of `graders.GRADERS`."""
    questions: int | None = None
    """Only the first so many; for `arith`, how many to draw."""
    samples: int = 1
    seed: int = 0
    concurrency: int = 32
    """Requests in flight."""
    timeout_s: float = 14400
    """Of one request."""
    judge: Judge | None = None
    keep_traces: int | bool = 0
    """Samples of each question whose traces the run directory keeps; True: of all."""

    def __post_init__(self) -> None:
        check_fields(
            self,
            "",
            keep_traces=Rule("true, false or a whole number >= 0", _is_count),
            benchmark=TEXT,
            data=optional(TEXT),
            prompt=optional(TEXT),
            grader=optional(Rule(f"one of {', '.join(GRADERS)}", lambda v: v in tuple(GRADERS))),
            questions=optional(integer(1)),
            samples=integer(1),
            seed=integer(0),
            concurrency=integer(1),
            timeout_s=number("> 0 seconds", lambda v: v > 0),
        )
        benchmarks.template(self.prompt or benchmarks.get(self.benchmark).prompt)
        check(len(self.methods) > 0, "methods", "at least one", [])
        names = [method.name for method in self.methods]
        for name in names:
            check(names.count(name) == 1, "methods.name", "different for each method", name)
        for method in self.methods:
            key, forks = f"methods.{method.name}.answers_per_thought", method.answers_per_thought
            check(self.samples % forks == 0, key, f"a divisor of samples = {self.samples}", forks)
            check(forks == 1 or not self.keep_traces, key, "1 with keep_traces", forks)

    def keeps_trace(self, sample: int) -> bool:
        return self.keep_traces is True or sample < self.keep_traces

    @property
    def graded_by(self) -> str:
        return self.grader or benchmarks.get(self.benchmark).grader

    def to_dict(self) -> dict[str, Any]:
        """As a dictionary, without keys."""
        found = dataclasses.asdict(self) | {"server": self.server.shown()}
        for method in found["methods"]:
            if method["answers_per_thought"] == 1:
                del method["answers_per_thought"]  # as in runs of older versions
        if not found["keep_traces"]:
            del found["keep_traces"]  # the same
        return found


def _is_count(value: object) -> bool:
    return isinstance(value, bool) or (isinstance(value, int) and value >= 0)
