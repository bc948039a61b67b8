"""`make bench-view-cost`: what a batch of 32 streamed requests loses to an open page.

    python -m launch.bench.view_cost
    python -m launch.bench.view_cost --rounds 3 --tokens 100 --url http://127.0.0.1:30000

Three sides of the same batch, in turn within each round: alone; while a client streams one thought
with its trace; while the live page, open in Chromium, streams one and draws it. Both ask again as
soon as a thought has ended, as long as the batch runs. Counted are the batch's tokens only, so the
33rd request costs something by itself; the client's side shows how much.

Server, the batch's client and Chromium share this machine's cores. A page on another machine takes
no core from the server. So the CPU time that the server's own processes take for a token of the
batch is counted too: that is what remains of the cost then.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from threading import Event
from typing import NamedTuple

import psutil

from launch.bench.hardware import machine
from launch.browser import chromium, missing
from launch.demo import QUESTION, SOFT_THINKING
from sglang_soft.client import AsyncClient, Client
from sglang_soft.server.markdown import table
from sglang_soft.server.process import Server
from sglang_soft.terminal.asking import Asked
from sglang_soft.view.access import PATH

REQUESTS = 32
PROMPT = "<|im_start|>user\nWhat is {}*34?<|im_end|>\n<|im_start|>assistant\n<think>\n"
SOFT = SOFT_THINKING["bundled"]
ALONE, CLIENT, PAGE = "alone", "a client streams a trace", "the page is open and streams"


class Measured(NamedTuple):
    """One batch."""

    rate: float
    """Tokens per second."""
    seen: int = 0
    """Thoughts that were streamed next to it."""
    cpu: float | None = None
    """Seconds of the server's processes for a token of the batch; None: not our server."""


def batch(url: str, tokens: int) -> float:
    """Output tokens per second of the batch, all streamed."""

    async def one(client: AsyncClient, number: int) -> int:
        prompt = PROMPT.format(number)
        count = 0
        async for chunk in client.stream(
            prompt=prompt, soft=SOFT, concepts=False, temperature=0.6, max_tokens=tokens,
            extra={"ignore_eos": True},
        ):  # fmt: skip
            count += len(chunk.tokens)
        return count

    async def all_of_them() -> int:
        async with AsyncClient(url) as client:
            return sum(await asyncio.gather(*(one(client, 20 + i) for i in range(REQUESTS))))

    begun = time.perf_counter()
    found = asyncio.run(all_of_them())
    seconds = time.perf_counter() - begun
    assert found == REQUESTS * tokens, f"{found} tokens came of {REQUESTS * tokens}"
    return found / seconds


@contextlib.contextmanager
def watching(url: str, watch: Callable[[str, Event, Event], int]) -> Iterator[list[int]]:
    """Run `watch` until the block ends, in a process of its own: a thread would take turns with the
    batch's client. Raises what it raised, and AssertionError if it saw nothing."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(1, mp_context=context) as pool:
        begun, ended = manager.Event(), manager.Event()
        found = pool.submit(watch, url, begun, ended)
        found.add_done_callback(lambda _: begun.set())
        begun.wait()
        seen: list[int] = []
        try:
            yield seen
        finally:
            ended.set()
        seen.append(found.result())
    assert seen[0] > 0, "nothing was streamed next to the batch"


def by_client(url: str, begun: Event, ended: Event) -> int:
    """Thoughts that were streamed with their traces, the one under way at the end included."""
    count = 0
    with Client(url) as client:
        while not ended.is_set():
            asked = Asked(client, QUESTION, {"soft": SOFT, "temperature": 0.6})
            for _ in asked.spans():
                begun.set()
                if ended.is_set():
                    break
            count += 1
    return count


def by_page(url: str, begun: Event, ended: Event) -> int:
    """The same, in the live page."""
    count = 0
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        page.goto(url + PATH)
        page.locator("#parameters input").first.wait_for(state="attached")
        page.locator("#question-input").fill(QUESTION)
        while not ended.is_set():
            page.locator("#go").click()
            count += 1
            begun.set()
            while "Done" not in (page.locator("#status").text_content() or ""):
                if ended.is_set():
                    break
                page.wait_for_timeout(100)  # looking costs the machine something, too
    return count


def rate(url: str, side: str, tokens: int, server: int | None = None) -> Measured:
    """server: its process; None: it is not ours."""
    if side == ALONE:
        before = cpu_seconds(server)
        found = batch(url, tokens)
        return Measured(found, 0, per_token(server, before, tokens))
    with watching(url, by_client if side == CLIENT else by_page) as seen:
        before = cpu_seconds(server)
        found = batch(url, tokens)
        cpu = per_token(server, before, tokens)
    return Measured(found, seen[0], cpu)


def cpu_seconds(server: int | None) -> float:
    """Of a process and those that it started."""
    if server is None:
        return 0.0
    process = psutil.Process(server)
    times = [p.cpu_times() for p in (process, *process.children(recursive=True))]
    return sum(t.user + t.system for t in times)


def per_token(server: int | None, before: float, tokens: int) -> float | None:
    if server is None:
        return None
    return (cpu_seconds(server) - before) / (REQUESTS * tokens)


def measure(
    url: str, sides: list[str], tokens: int, rounds: int, server: int | None = None
) -> dict[str, list[Measured]]:
    """By side, one for each round; the order turns by one."""
    found: dict[str, list[Measured]] = {side: [] for side in sides}
    batch(url, tokens)  # the first batch compiles and fills caches
    for i in range(rounds):
        for side in sides[i % len(sides) :] + sides[: i % len(sides)]:
            found[side].append(rate(url, side, tokens, server))
    return found


def rows(found: dict[str, list[Measured]]) -> list[dict[str, str]]:
    """Medians, and ratios to the batch alone of the same round, with quartiles."""
    made = []
    for side, runs in found.items():
        pairs = list(zip(runs, found[ALONE], strict=True))
        cpu = [run.cpu / alone.cpu for run, alone in pairs if run.cpu and alone.cpu]
        alone = side == ALONE
        made.append(
            {
                f"next to the batch of {REQUESTS}": side,
                "tokens/s of the batch": f"{statistics.median(run.rate for run in runs):.0f}",
                "thoughts seen": "" if alone else str(sum(run.seen for run in runs)),
                "/ alone": "" if alone else spread([run.rate / one.rate for run, one in pairs]),
                "server CPU a token / alone": "" if alone or not cpu else spread(cpu),
            }
        )
    return made


def spread(ratios: list[float]) -> str:
    """Median (quartiles)."""
    middle = f"{statistics.median(ratios):.3f}"
    if len(ratios) > 1:
        low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
        middle += f" ({low:.3f} .. {high:.3f})"
    return middle


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=300, help="of each request")
    parser.add_argument("--url", help="a running server with --soft-view (default: start one)")
    args = parser.parse_args()
    sides = [ALONE, CLIENT, PAGE]
    if reason := missing():
        print(f"the page is left out: {reason}")
        sides.remove(PAGE)
    server = None if args.url else Server(["--soft-view", "--log-level", "warning"])
    with contextlib.nullcontext() if server is None else server:
        pid = None if server is None else server.process.pid
        found = measure(args.url or server.url, sides, args.tokens, args.rounds, pid)
    print(f"{machine()}; {REQUESTS} requests of {args.tokens} tokens, {args.rounds} rounds.\n")
    print(table(rows(found)))
    print("\nRatios: median of paired rounds (quartiles). Server, clients and browser share the")
    print("cores of this machine.")


if __name__ == "__main__":
    main()
