"""Server-wide settings. They travel as environment variables, because SGLang starts its processes
afresh and its `ServerArgs` has no room for a plugin's own flags; `python -m
sglang_soft.launch_server` offers them as `--soft-*`.
"""

import os
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from sglang_soft import params

MAX_K_LIMIT = 64
"""The widest concept token that the kernels are built for."""


class SoftConfig(NamedTuple):
    max_k: int = 32
    """Largest `max_topk` of any request: the width of the concept pool. SGLANG_SOFT_MAX_K,
    --soft-max-k."""
    default: dict[str, Any] | None = None
    """Parameters of requests that say nothing of Soft Thinking; None: those are hard.
    SGLANG_SOFT_DEFAULT."""
    think_start: str | None = None
    """Think-start token, as text or id; None: from the reasoning parser.
    SGLANG_SOFT_THINK_START."""
    think_end: str | None = None
    """Think-end token, as text or id; None: from the reasoning parser. SGLANG_SOFT_THINK_END."""
    max_vector_mb: int = 256
    """MiB of host memory that the vectors of one request may take. SGLANG_SOFT_MAX_VECTOR_MB."""
    methods: str | None = None
    """Modules that register thinking methods, comma-separated. SGLANG_SOFT_METHODS."""
    required: bool = False
    """Refuse to start where Soft Thinking cannot work (set by our launch_server).
    SGLANG_SOFT_REQUIRED."""


def to_env(config: SoftConfig) -> dict[str, str]:
    env = {"SGLANG_SOFT_MAX_K": str(config.max_k)}
    if config.default is not None:
        env["SGLANG_SOFT_DEFAULT"] = orjson.dumps(config.default).decode()
    if config.think_start is not None:
        env["SGLANG_SOFT_THINK_START"] = config.think_start
    if config.think_end is not None:
        env["SGLANG_SOFT_THINK_END"] = config.think_end
    env["SGLANG_SOFT_MAX_VECTOR_MB"] = str(config.max_vector_mb)
    if config.methods is not None:
        env["SGLANG_SOFT_METHODS"] = config.methods
    if config.required:
        env["SGLANG_SOFT_REQUIRED"] = "1"
    return env


def parse_max_k(text: str) -> int:
    """Raises ValueError for anything but a whole number in [1, 64]."""
    if not text.isdecimal() or not 1 <= int(text) <= MAX_K_LIMIT:
        raise ValueError(
            f"--soft-max-k (SGLANG_SOFT_MAX_K) must be in [1, {MAX_K_LIMIT}]; got {text!r}."
        )
    return int(text)


def parse_max_vector_mb(text: str) -> int:
    """Raises ValueError for anything but a whole number."""
    if not text.isdecimal():
        raise ValueError(
            f"--soft-max-vector-mb (SGLANG_SOFT_MAX_VECTOR_MB) must be a whole number >= 0; got {text!r}."
        )
    return int(text)


def parse_default(text: str, max_k: int) -> dict[str, Any] | None:
    """`true`, `false` or a JSON object of request parameters. Raises ValueError."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(
            f"--soft-default (SGLANG_SOFT_DEFAULT) is not JSON: {error}; got {text!r}."
        ) from error
    if value is True:
        return {}
    if value is False:
        return None
    if not isinstance(value, dict):
        raise ValueError(
            f"--soft-default (SGLANG_SOFT_DEFAULT) must be true, false or a JSON object; got {text!r}."
        )
    return params.check(value, max_k)


@lru_cache(maxsize=1)
def get_config() -> SoftConfig:
    """The settings of this process. Raises ValueError for a malformed environment variable."""
    env = os.environ
    max_k = parse_max_k(env.get("SGLANG_SOFT_MAX_K", str(SoftConfig().max_k)))
    default = env.get("SGLANG_SOFT_DEFAULT")
    return SoftConfig(
        max_k=max_k,
        default=None if default is None else parse_default(default, max_k),
        think_start=env.get("SGLANG_SOFT_THINK_START"),
        think_end=env.get("SGLANG_SOFT_THINK_END"),
        max_vector_mb=parse_max_vector_mb(
            env.get("SGLANG_SOFT_MAX_VECTOR_MB", str(SoftConfig().max_vector_mb))
        ),
        methods=env.get("SGLANG_SOFT_METHODS"),
        required=env.get("SGLANG_SOFT_REQUIRED") == "1",
    )
