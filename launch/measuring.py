"""What the benchmarks share: an engine in a process of its own, and statistics.

Run as a script, this file is the engine process: it reads one batch a line and answers with one
result a line.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

ROOT = Path(__file__).parents[1]
BUNDLED_MODEL = ROOT / "sglang_soft" / "bundled"
REPLY = "sglang-soft-bench "
"""Opens a line of our own; libraries may write to standard output as well."""


class Result(NamedTuple):
    """One batch, from request to last token."""

    seconds: float
    tokens: int
    """Output tokens of all requests."""
    thinking: int
    """Concept tokens among them; 0 for hard requests."""


class Worker:
    """A running engine. Without the plugin, only the platform that lets SGLang run on a CPU is
    loaded."""

    def __init__(
        self, *, plugin: bool, engine: Mapping[str, Any], env: Mapping[str, str] | None = None
    ) -> None:
        """engine: arguments of `sglang.Engine`. Raises SystemExit, with the log's end, if it does
        not start."""
        plugins = {"SGLANG_PLUGINS": "" if plugin else "sglang_soft_cpu"}
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the process)
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, orjson.dumps(dict(engine)).decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | plugins | dict(env or {}),
        )
        self.cache_tokens: int = self._reply()
        """Room of the KV cache, which SGLang makes smaller than asked where memory is short."""

    def _reply(self) -> Any:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.decode().startswith(REPLY):
                return orjson.loads(line[len(REPLY) :])
        status = self._process.wait()
        self._log.seek(0)
        tail = self._log.read().decode(errors="replace").splitlines()[-30:]
        raise SystemExit(
            "\n".join(
                [*tail, f"the engine ended with exit status {status}; its log's end is above"]
            )
        )

    def run(self, **request: Any) -> Result:
        """request: arguments of `Engine.generate`, lists of prompts among them."""
        assert self._process.stdin
        self._process.stdin.write(orjson.dumps(request) + b"\n")
        self._process.stdin.flush()
        return Result(*self._reply())

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._log.close()


def serve_lines(arguments: dict[str, Any]) -> None:
    import sglang

    engine = sglang.Engine(**arguments)
    print(
        f"{REPLY}{engine._scheduler_init_result.scheduler_infos[0]['max_total_num_tokens']}",
        flush=True,
    )
    for line in sys.stdin:
        request = orjson.loads(line)
        start = time.perf_counter()
        outs = engine.generate(**request)
        seconds = time.perf_counter() - start
        infos = [out["meta_info"] for out in outs]
        thinking = sum(info.get("soft_thinking", {}).get("thinking_tokens", 0) for info in infos)
        print(
            REPLY
            + orjson.dumps(
                [seconds, sum(i["completion_tokens"] for i in infos), thinking]
            ).decode(),
            flush=True,
        )
    engine.shutdown()


def take_turns(runs: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Measure every run once a round, in rotating order, so that noise of the machine falls on all
    alike. Each is run once before, unmeasured. Returns [rounds] figures by name; entry i of all of
    them belongs to round i."""
    measured: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for run in runs.values():
        run()
    for round_ in range(rounds):
        turn = round_ % len(names)
        for name in names[turn:] + names[:turn]:
            measured[name].append(runs[name]())
    return measured


class Ratio(NamedTuple):
    """Median and quartiles of ratios of paired rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.low:.3f} .. {self.high:.3f})"


def paired_ratio(top: Sequence[float], bottom: Sequence[float]) -> Ratio:
    """Needs two rounds or more."""
    ratios = [a / b for a, b in zip(top, bottom, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    return Ratio(statistics.median(ratios), low, high)


def write_section(path: Path, name: str, text: str) -> None:
    """Replace what is between `<!-- name: begin -->` and `<!-- name: end -->`. Raises ValueError
    without them."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = path.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{path} has no section {begin} ... {end}.")
    path.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}")


if __name__ == "__main__":
    serve_lines(orjson.loads(sys.argv[1]))
