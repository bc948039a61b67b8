"""A running server as reference: it reads prompt and trace in one prefill and gives back its
logits (server/reading.py)."""

import io
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import orjson
import torch

from sglang_soft.client import Client
from sglang_soft.trace import Trace
from sglang_soft.verify.steps import Logits

PATH = "/soft_thinking/logits"
CHUNK_BYTES = 64 * 2**20
"""Logits that one answer carries, at least those of one step."""


class ServerReference:
    """A server with the plugin, of any device and dtype."""

    def __init__(self, client: Client, *, dtype: str | None = None) -> None:
        """dtype: a server that has another one is refused."""
        self.name = f"server {client.url}"
        self._client, self._dtype = client, dtype
        self._token_ids: dict[str, list[int]] = {}
        self._first = torch.empty(0), torch.empty(0)
        """Logits and hidden states of step 0, which came with the fingerprint."""

    def load(self, trace: Trace) -> Mapping[str, Any]:
        head, logits, hidden = self._read(trace, 0, 1)
        self._first = logits, hidden
        self._token_ids = head["token_ids"]
        found = head["model"]["dtype"]
        if self._dtype not in (None, found):
            raise ValueError(f"{self.name} runs in {found}; expected {self._dtype}.")
        return head["model"]

    def token_ids(self) -> Mapping[str, Collection[int]]:
        return self._token_ids

    def logits(self, trace: Trace, reads_hidden: bool) -> Logits:
        """After `load` of the same trace. Several prefills, where the logits of all steps are more
        than one answer carries."""
        logits, hidden = self._first
        size, at = max(1, CHUNK_BYTES // (4 * logits.shape[1])), 0
        while True:
            for step, row in enumerate(logits):
                yield row[None], hidden[step : step + 1] if reads_hidden else None
            at += len(logits)
            if at == len(trace.steps):
                return
            _, logits, hidden = self._read(trace, at, min(len(trace.steps), at + size))

    def _read(self, trace: Trace, first: int, stop: int) -> tuple[dict, torch.Tensor, torch.Tensor]:
        body = {"trace": trace.to_json(), "first": first, "stop": stop}
        with np.load(io.BytesIO(self._client.post(PATH, body)), allow_pickle=False) as answer:
            head = orjson.loads(answer["header"].tobytes())
            logits, hidden = (torch.from_numpy(answer[name]) for name in ("logits", "hidden"))
            return head, logits, hidden
