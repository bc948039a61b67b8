"""Thousands of short requests whose traces one server keeps (`keep`): are they within their bound?

    python -m launch.kept_memory --requests 10000 --keep-mb 16 [any flag of the server]

Prints what the server keeps and how large its front end is, as it goes on. Exit status 1: more was
kept than --soft-keep-mb allows, or the front end grew by more than that and a little.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import requests

from sglang_soft.server.process import Server

PROMPT = "<|im_start|>user\nWhat is {}*34?<|im_end|>\n<|im_start|>assistant\n<think>\n"
BATCH = 50
LITTLE_MB = 48
"""What a server grows by that keeps nothing: buffers, and pages that its allocator holds."""


def resident_mb(pid: int) -> float:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def ask(url: str, first: int, keep: bool) -> list[dict[str, Any]]:
    """BATCH requests at once. Returns what is kept of each."""
    soft = {"thinking_start": "now", "keep": keep, "max_answer_tokens": 0}
    sampling = {"temperature": 0.6, "max_new_tokens": 24, "custom_params": {"soft_thinking": soft}}
    texts = [PROMPT.format(first + at) for at in range(BATCH)]
    answer = requests.post(
        f"{url}/generate", json={"text": texts, "sampling_params": sampling}, timeout=600
    )
    answer.raise_for_status()
    return [out["meta_info"]["soft_thinking"].get("kept") for out in answer.json()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--keep-mb", type=int, default=16, help="--soft-keep-mb of the server")
    parser.add_argument("--log", type=Path, default=Path("kept_memory.log"))
    args, flags = parser.parse_known_args()
    rows, problems = [], []
    with Server(["--soft-keep-mb", str(args.keep_mb), *flags], log=args.log) as server:
        assert server.process is not None
        for batch in range(10):  # until nothing grows that has nothing to do with it
            ask(server.url, batch * BATCH, keep=False)
        begin = resident_mb(server.process.pid)
        batches = args.requests // BATCH
        for batch in range(batches):
            told = ask(server.url, batch * BATCH, keep=True)
            state = requests.get(f"{server.url}/soft_thinking", timeout=60).json()["kept"]
            grown = resident_mb(server.process.pid) - begin
            if state["bytes"] > args.keep_mb * 2**20:
                problems.append(f"batch {batch}: {state['bytes']} bytes are kept")
            if grown > args.keep_mb + LITTLE_MB:
                problems.append(f"batch {batch}: the front end grew by {grown:.0f} MiB")
            if batch % (batches // 10 or 1) == 0 or batch == batches - 1:
                rows.append(((batch + 1) * BATCH, state["traces"], state["bytes"] / 2**20, grown))
        newest = requests.get(f"{server.url}/soft_thinking/traces/{told[-1]['id']}", timeout=60)
        problems += [] if newest.status_code == 200 else ["the newest trace is not there"]
    print(f"--soft-keep-mb {args.keep_mb}; the front end had {begin:.0f} MiB before\n")
    print("| requests | traces kept | their bytes, MiB | the front end grew by, MiB |")
    print("| --- | --- | --- | --- |")
    for count, traces, size, grown in rows:
        print(f"| {count} | {traces} | {size:.2f} | {grown:.0f} |")
    print("\n" + "\n".join(problems or ["within the bound"]))
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
