"""The engines of the GPU tests: each is started, asked the same batch, and ended."""

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sglang_soft import methods
from tests.engine.setups import RETRACT
from tests.gpu import requests

FLASHINFER = {"attention_backend": "flashinfer"}
NO_GRAPHS = {"disable_decode_cuda_graph": True, "disable_prefill_cuda_graph": True}
SIZE = {"max_total_tokens": 8192, "max_running_requests": 16}
TOKENS = 32
"""Output tokens of the requests with every method."""
COMPANIONS = ("soft", None)
"""Requests in the batch of a method that reads hidden states."""


class Setup(NamedTuple):
    args: Mapping[str, Any]
    """Arguments of `sglang.Engine`."""
    env: Mapping[str, str] = {}
    methods: bool = False
    """Ask every method as well."""


SETUPS = {
    "graphs": Setup(FLASHINFER),
    "no graphs": Setup(FLASHINFER | NO_GRAPHS),
    "retraction": Setup(FLASHINFER, RETRACT),
    "defaults": Setup({}, methods=True),  # SGLang's own attention backend and graphs
    "tp2": Setup({"tp_size": 2}),
}


class Answers(NamedTuple):
    """What one engine said."""

    outs: list[dict]
    """Of `requests.CASES`."""
    methods: dict[str, dict]
    """By method; empty if they were not asked."""
    graph_sizes: list[int]
    """Batch sizes of the decode graphs that SGLang captured."""
    decode_steps: set[tuple[int, bool]]
    """(requests in the batch, whether a graph was replayed), of every decode step in its log."""


def ask(setup: Setup, tokenizer, log: Path) -> Answers:
    """Raises what the engine raises, and shows the end of its log then."""
    import sglang

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SGLANG_SOFT_REQUIRED", "1")  # graphs are captured for soft batches
        for name, value in setup.env.items():
            patch.setenv(name, value)
        try:
            with output_to(log):
                engine = sglang.Engine(
                    model_path=str(requests.MODEL), dtype="bfloat16", random_seed=1,
                    log_level="info", decode_log_interval=1, **SIZE, **setup.args,
                )  # fmt: skip
            try:
                state = engine.get_server_info()["internal_states"][0]
                outs = engine.generate(
                    input_ids=[requests.prompt_ids(tokenizer, c.question) for c in requests.CASES],
                    sampling_params=[case.sampling() for case in requests.CASES],
                    return_logprob=[case.sampled for case in requests.CASES],
                )
                by_method = ask_methods(engine, tokenizer) if setup.methods else {}
            finally:
                engine.shutdown()
        except BaseException:
            print(*log.read_text(errors="replace").splitlines()[-60:], sep="\n")
            raise
    return Answers(outs, by_method, state["decode_cuda_graph_bs"], decode_steps(log.read_text()))


def ask_methods(engine, tokenizer) -> dict[str, dict]:
    """Every method once. Those that read hidden states, which a default decode graph does not
    return, each in a small batch of its own, the others together. Without a top_k: methods that
    draw need the whole vocabulary."""

    def batch(names: Sequence[str | None]) -> list[dict]:
        params = [
            requests.soft_params(TOKENS, method=name or "soft", temperature=0.6) for name in names
        ]
        for name, given in zip(names, params, strict=True):
            if name is None:
                del given["custom_params"]
        prompts = [requests.prompt_ids(tokenizer)] * len(names)
        return engine.generate(input_ids=prompts, sampling_params=params)

    together = [name for name in methods.names() if not methods.get(name).reads_hidden]
    found = dict(zip(together, batch(together), strict=True))
    for name in methods.names():
        if name not in found:
            found[name] = batch([name, *COMPANIONS])[0]
    return found


def decode_steps(log: str) -> set[tuple[int, bool]]:
    lines = re.findall(r"Decode batch.* #running-req: (\d+),.* graph: (True|False)", log)
    return {(int(rows), replayed == "True") for rows, replayed in lines}


@contextmanager
def output_to(path: Path) -> Iterator[None]:
    """Processes that start inside the block write their output to `path`, for all their life."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    with path.open("ab") as file:
        for target in (1, 2):
            os.dup2(file.fileno(), target)
    try:
        yield
    finally:
        for source, target in zip(saved, (1, 2), strict=True):
            os.dup2(source, target)
            os.close(source)
