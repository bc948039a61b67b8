"""Traces of answers in a run directory (`keep_traces`), as `traces/NAME.npz`."""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from sglang_soft.trace import Trace
from sglang_soft_evals.record import Key

FOLDER = "traces"


def name_of(key: Key) -> str:
    """A file name: what can be read of the key, and what tells it from every other."""
    digest = hashlib.sha256(orjson.dumps(list(key))).hexdigest()[:10]
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", f"{key.method}-{key.question}-{key.sample}")
    return f"{plain[:60]}-{digest}"


def keep(run: Path, key: Key, completion: Mapping[str, Any]) -> str | None:
    """Write the trace of a completion; returns its path below the run directory. None: it has none,
    as that of a discrete request. A kill leaves a whole file or none.

    Raises ValueError: the trace is malformed.
    """
    choices = completion.get("choices") or [{}]
    meta = choices[0].get("meta_info") or {}
    found = (meta.get("soft_thinking") or {}).get("trace")
    if found is None:
        return None
    trace = Trace.from_json(found)
    path = run / FOLDER / f"{name_of(key)}.npz"
    path.parent.mkdir(exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        trace.save(file)
    os.replace(part, path)
    return f"{FOLDER}/{path.name}"
