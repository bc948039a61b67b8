"""The engine of a benchmark, in a process of its own: a batch a line in, a result a line out.

`worker.py` starts this file by its path. It imports nothing of the project: the project under test
may be another checkout, which PYTHONPATH names.
"""

import importlib.util
import json
import sys
import time
from typing import Any

REPLY = "sglang-soft-bench "
"""Opens a line of ours; libraries may write to standard output as well."""


def reply(value: Any) -> None:
    print(REPLY + json.dumps(value), flush=True)


def serve_lines(arguments: dict[str, Any]) -> None:
    """First reply: {cache_tokens, package}. One reply a line: [seconds, output tokens, thinking
    tokens]."""
    import sglang

    engine = sglang.Engine(**arguments)
    cache_tokens = engine._scheduler_init_result.scheduler_infos[0]["max_total_num_tokens"]
    package = importlib.util.find_spec("sglang_soft")
    reply({"cache_tokens": cache_tokens, "package": package.origin if package else None})
    for line in sys.stdin:
        request = json.loads(line)
        start = time.perf_counter()
        outs = engine.generate(**request)
        seconds = time.perf_counter() - start
        infos = [out["meta_info"] for out in outs]
        thinking = sum(info.get("soft_thinking", {}).get("thinking_tokens", 0) for info in infos)
        reply([seconds, sum(info["completion_tokens"] for info in infos), thinking])
    engine.shutdown()


if __name__ == "__main__":
    del sys.path[0]  # this file's folder: its modules must not hide others of the same name
    serve_lines(json.loads(sys.argv[1]))
