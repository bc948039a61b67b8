"""From the scheduler's records to `meta_info.soft_thinking`, as the client reads it."""

from typing import Any, NamedTuple

from sglang_soft.history import unpack


class Payload(NamedTuple):
    """What the scheduler sends along with new tokens of one soft request."""

    records: list[bytes]
    """Concept records since the last payload; empty unless the request asked for concepts."""
    summary: dict[str, Any] | None
    """Set once, when the request has finished."""


class ClientTrace:
    """Collects payloads of one request and hands out each part once."""

    def __init__(self) -> None:
        self._records: list[bytes] = []
        self._summary: dict[str, Any] | None = None
        self._wants_concepts = False

    def add(self, payload: Payload) -> None:
        self._records += payload.records
        self._wants_concepts |= bool(payload.records)
        self._summary = payload.summary or self._summary

    def take(self) -> dict[str, Any]:
        """The summary if it is there, and the concepts that were not taken before."""
        records, self._records = self._records, []
        info = dict(self._summary or {})
        if records or (info and self._wants_concepts):
            info["concepts"] = concepts(records)
        return info


def concepts(records: list[bytes]) -> dict[str, list]:
    """Columns over thinking steps: ids and weights (ragged: the entries that carry weight) and
    entropy.

    Weights and entropies are the float32 values that the model was fed and that were measured,
    printed exactly.
    """
    steps = [unpack(r) for r in records]
    return {
        "ids": [s.ids.tolist() for s in steps],
        "weights": [s.weights.tolist() for s in steps],
        "entropy": [float(s.entropy) for s in steps],
    }
