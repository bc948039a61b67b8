"""The data of a page: columns of a trace as base64, and the texts of its tokens."""

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sglang_soft.trace import Trace

VERSION = 1
Texts = Callable[[Sequence[int]], Sequence[str]]
"""The text of each of some tokens."""


def of_trace(
    trace: Trace, name: str, *, question: str | None = None, answer: str | None = None,
    summary: Mapping[str, Any] | None = None, whole: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """One trace of a page.

    question: text of the prompt. answer: text after the thought; None: it is put together from the
    tokens. summary: `meta_info.soft_thinking`. whole: the file holds the trace itself as well, so
    that it can be saved, and gone on from.
    """
    steps = trace.steps
    data = {
        "name": name,
        "method": trace.method,
        "question": question,
        "start": trace.start,
        "prompt_len": len(trace.prompt_ids),
        "n": len(steps),
        "k": steps.k,
        "ids": _base64(steps.ids, "<i4"),
        "weights": _base64(steps.weights, "<f4"),
        "entropy": _base64(trace.entropy, "<f4"),
        "output_ids": trace.output_ids.tolist(),
        "thinking_finish_reason": trace.thinking_finish_reason,
        "params": trace.params,
        "summary": None if summary is None else {k: v for k, v in summary.items() if k != "trace"},
        "answer": answer,
    }
    return data | ({"trace": trace.to_base64()} if whole else {})


def page(traces: Sequence[dict[str, Any]], tokens: Iterable[int], texts: Texts | None) -> Any:
    """The data of a page. traces: one, or two that are compared. tokens: those that it shows.
    texts: None: they are not known, and the page shows ids."""
    if not 1 <= len(traces) <= 2:
        raise ValueError(f"traces must be one or two; got {len(traces)}.")
    ids = list(tokens) if texts is not None else []
    known = dict(zip(map(str, ids), texts(ids), strict=True)) if texts is not None else {}
    return {"version": VERSION, "traces": list(traces), "texts": known}


def tokens_of(traces: Iterable[Trace]) -> list[int]:
    """Every token that a page of these traces shows, once."""
    shown = []
    for trace in traces:
        shown += [trace.ids[trace.weights != 0], trace.output_ids]
    return np.unique(np.concatenate(shown)).tolist() if shown else []


def answer_ids(trace: Trace) -> list[int]:
    """Tokens after the thought; all of them where there is none."""
    if trace.start is None:
        return trace.output_ids.tolist()
    return trace.output_ids[trace.start - len(trace.prompt_ids) + len(trace.steps) :].tolist()


def _base64(column: np.ndarray, dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(column, dtype).tobytes()).decode()
