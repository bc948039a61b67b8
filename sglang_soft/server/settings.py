"""Server-wide settings: one table that gives flags, environment variables, `--help`, errors and
docs.

They travel as environment variables, because SGLang starts its processes anew and its `ServerArgs`
has no room for a plugin's own flags. `python -m sglang_soft.launch_server` offers them as flags.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import orjson

from sglang_soft import resolve

MAX_K_LIMIT = 64
"""The largest concept token that the kernels are built for."""

REQUIRED = "SGLANG_SOFT_REQUIRED"
"""Set by our launch_server: do not start where Soft Thinking cannot work."""
CHECK = "SGLANG_SOFT_CHECK"
"""For tests: check the concept pool whenever the scheduler is idle."""


def _whole_number(low: int, high: int | None) -> Callable[[str], int]:
    allowed = f"in [{low}, {high}]" if high is not None else f">= {low}"

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < low or (high is not None and int(text) > high):
            raise ValueError(f"must be a whole number {allowed}")
        return int(text)

    return parse


def _json(text: str) -> Any:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(
            f"must be true, false or a JSON object, and is not JSON ({error})"
        ) from None
    if not isinstance(value, bool | dict):
        raise ValueError("must be true, false or a JSON object")
    return value


def _text(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    return text


class Setting(NamedTuple):
    """One server-wide setting."""

    name: str
    metavar: str
    default: Any
    parse: Callable[[str], Any]
    help: str

    @property
    def flag(self) -> str:
        return "--soft-" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return "SGLANG_SOFT_" + self.name.upper()


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "default", "JSON", None, _json,
        "parameters of requests that do not mention Soft Thinking: true, false, or a JSON object "
        "of the keys that `sglang-soft params` lists; without it such requests are discrete",
    ),
    Setting("method", "NAME", None, _text, "short for the key `method` of --soft-default"),
    Setting(
        "max_k", "K", 32, _whole_number(1, MAX_K_LIMIT),
        f"largest max_topk that a request may ask for, up to {MAX_K_LIMIT}",
    ),
    Setting(
        "max_vector_mb", "MIB", 256, _whole_number(0, None),
        "host memory that one request of a method that feeds embedding offsets, or of `sglang-soft "
        "verify`, may take",
    ),
    Setting(
        "max_vector_mb_total", "MIB", 8192, _whole_number(0, None),
        "host memory that all such requests may take that run or wait at once; one more gets "
        "HTTP 503",
    ),
    Setting(
        "keep_mb", "MIB", 512, _whole_number(0, None),
        "host memory for traces that requests ask to keep (`keep`); when it is full, the one that "
        "was used longest ago goes",
    ),
    Setting(
        "keep_seconds", "SECONDS", 3600, _whole_number(1, None),
        "how long such a trace is kept after its last use",
    ),
    Setting(
        "methods", "MODULES", None, _text,
        "modules that register thinking methods of your own, separated by commas",
    ),
    Setting(
        "stop_rules", "MODULES", None, _text,
        "modules that register stopping rules of your own, separated by commas",
    ),
    Setting(
        "think_start", "TOKEN", None, _text,
        "think-start, as text or token ids separated by commas, up to 8 tokens (default: the "
        "reasoning parser's, else <think>)",
    ),
    Setting(
        "think_end", "TOKEN", None, _text,
        "think-end, as text or token ids separated by commas, up to 8 tokens (default: the "
        "reasoning parser's, else </think>)",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """The settings of a server, checked. Fields as in the table."""

    default: dict[str, Any] | None = None
    """Checked parameters, `method` merged in; None: requests must opt in."""
    max_k: int = 32
    max_vector_mb: int = 256
    max_vector_mb_total: int = 8192
    keep_mb: int = 512
    keep_seconds: int = 3600
    methods: str | None = None
    stop_rules: str | None = None
    think_start: str | None = None
    think_end: str | None = None
    required: bool = False
    check: bool = False

    @property
    def enabled(self) -> bool:
        """Soft Thinking was asked for; otherwise the plugin is merely installed."""
        return self.required or self.default is not None


def from_env(env: Mapping[str, str]) -> Settings:
    """Raises ValueError that names the flag, the variable, the value and what is allowed."""
    values: dict[str, Any] = {}
    for s in SETTINGS:
        text = env.get(s.variable)
        try:
            values[s.name] = s.default if text is None else s.parse(text)
        except ValueError as error:
            raise ValueError(f"{s.flag} ({s.variable}) {error}; got {text!r}.") from None
    values["default"] = _default(values["default"], values.pop("method"), values["max_k"])
    return Settings(**values, required=env.get(REQUIRED) == "1", check=env.get(CHECK) == "1")


def _default(given: Any, method: str | None, max_k: int) -> dict[str, Any] | None:
    """`default` and `method` as one checked object of parameters."""
    if given is False and method is not None:
        raise ValueError(
            f"--soft-method {method} (SGLANG_SOFT_METHOD) sets the default method, but "
            "--soft-default (SGLANG_SOFT_DEFAULT) is false; give only one of them."
        )
    if given in (None, False) and method is None:
        return None
    given = given if isinstance(given, dict) else {}
    if method is not None:
        if given.get("method") not in (None, method):
            raise ValueError(
                f"--soft-method {method} (SGLANG_SOFT_METHOD) and --soft-default "
                f"(SGLANG_SOFT_DEFAULT) name different methods; got {given['method']!r} there."
            )
        given = {**given, "method": method}
    try:
        return resolve.check(given, max_k)
    except ValueError as error:
        raise ValueError(f"--soft-default (SGLANG_SOFT_DEFAULT): {error}") from None


@cache
def get_settings() -> Settings:
    """The settings of this process. Raises ValueError as `from_env`."""
    return from_env(os.environ)


def table() -> list[dict[str, str]]:
    """The settings as rows of text, for the docs and the command line."""
    return [
        {
            "flag": f"`{s.flag} {s.metavar}`",
            "environment": f"`{s.variable}`",
            "default": "" if s.default is None else str(s.default),
            "meaning": s.help,
        }
        for s in SETTINGS
    ]
