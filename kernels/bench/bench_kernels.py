"""Time the kernels against the floor of their memory traffic and against plain sequences of library
calls.

    python kernels/bench/bench_kernels.py [--json FILE]     on a CUDA machine, about 3 minutes
    python kernels/bench/bench_kernels.py --dry-run         anywhere: tiny shapes, checks that it
    runs

Floor: bytes that must move, over the copy bandwidth measured here at 1 GiB ("floor"), and the time
of one copy that moves the same bytes ("same copy"), which also pays for launch and ramp-up. L2 is
flushed before every run.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import sglang_soft_kernels as kernels
import torch
from sglang_soft_kernels.layout import TOP_K_OFF


class Sizes(NamedTuple):
    V: int
    H: int
    K: int
    batches: tuple[int, ...]
    copy_bytes: int


REAL = Sizes(V=151_936, H=5120, K=10, batches=(1, 8, 64, 256), copy_bytes=1 << 30)
TINY = Sizes(V=1000, H=64, K=10, batches=(1, 3), copy_bytes=1 << 16)


class Timing(NamedTuple):
    """Microseconds of one call."""

    median: float
    low: float
    high: float
    """low, high: 20th and 80th percentile"""


def measure(run: Callable[[], object], device: str) -> Timing:
    if device == "cuda":
        from triton.testing import do_bench

        run()
        median, low, high = do_bench(run, warmup=50, rep=300, quantiles=[0.5, 0.2, 0.8])
        return Timing(median * 1e3, low * 1e3, high * 1e3)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e6)
    times.sort()
    return Timing(times[2], times[1], times[3])


def copy_time(nbytes: int, device: str) -> Timing:
    """Time of a copy that reads and writes nbytes in all."""
    source = torch.empty(max(1, nbytes // 2), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return measure(lambda: target.copy_(source), device)


def plain_sample(logits, temperature, top_k, top_p, min_p, n, K):
    """The step as library calls, one after the other."""
    probs = torch.softmax(logits / temperature[:, None], -1)
    entropy = -(probs * probs.clamp(min=1e-30).log()).sum(-1)
    ordered, order = probs.sort(-1, descending=True)
    rank = torch.arange(logits.shape[1], device=logits.device)
    ordered = torch.where(rank < top_k[:, None], ordered, 0.0)
    ordered = ordered / ordered.sum(-1, keepdim=True)
    ordered = torch.where(ordered.cumsum(-1) - ordered > top_p[:, None], 0.0, ordered)
    ordered = ordered / ordered.sum(-1, keepdim=True)
    ordered = torch.where(ordered < min_p[:, None] * ordered[:, :1], 0.0, ordered)
    weights = torch.where(rank[:K] < n[:, None], ordered[:, :K], 0.0)
    return order[:, :K], weights / weights.sum(-1, keepdim=True), entropy


def flashinfer_sample(logits, temperature, top_k, top_p, min_p, n, K):
    """The same with FlashInfer's renormalisation kernels in place of the sort."""
    from flashinfer.sampling import top_k_renorm_probs, top_p_renorm_probs

    probs = torch.softmax(logits / temperature[:, None], -1)
    entropy = -(probs * probs.clamp(min=1e-30).log()).sum(-1)
    probs = top_p_renorm_probs(top_k_renorm_probs(probs, top_k), top_p)
    weights, ids = probs.topk(K, -1)
    weights = torch.where(weights < min_p[:, None] * weights[:, :1], 0.0, weights)
    weights = torch.where(torch.arange(K, device=logits.device) < n[:, None], weights, 0.0)
    return ids, weights / weights.sum(-1, keepdim=True), entropy


def plain_mixture(table, input_ids, rows, ids, weights):
    w = weights[rows]
    mixed = (w[..., None] * table[ids[rows].long()].float()).sum(1).to(table.dtype)
    return torch.where(w[:, :1] != 0, mixed, table[input_ids])


def sampling_rows(sizes: Sizes, device: str):
    for B in sizes.batches:
        logits = torch.randn(B, sizes.V, device=device) * 4
        floats = [torch.full((B,), x, device=device) for x in (0.6, 0.95, 0.001)]
        ints = [torch.full((B,), x, dtype=torch.int32, device=device) for x in (30, sizes.K)]
        params = (floats[0], ints[0], floats[1], floats[2], ints[1])
        got = kernels.soft_sample(logits, *params, k=sizes.K, top_k_bound=30)
        want = kernels.soft_sample.naive(logits, *params, k=sizes.K, top_k_bound=30)
        assert (got.ids == want.ids).float().mean() > 0.99, "wrong result: nothing to time"
        torch.testing.assert_close(got.entropy, want.entropy, rtol=1e-5, atol=1e-5)
        runs = {
            "soft_sample": partial(kernels.soft_sample, logits, *params, k=sizes.K, top_k_bound=30),
            "eager": partial(plain_sample, logits, *params, sizes.K),
            "compiled": partial(compiled(plain_sample), logits, *params, sizes.K),
        }
        if device == "cuda" and _has_flashinfer():
            runs["flashinfer"] = partial(flashinfer_sample, logits, *params, sizes.K)
        yield f"sampling B={B} V={sizes.V}", logits.numel() * logits.element_size(), runs


def drawing_rows(sizes: Sizes, device: str):
    """Methods that draw from the whole vocabulary: among the candidates, in the tail, and by
    sorting every row."""
    for B in sizes.batches:
        logits = torch.randn(B, sizes.V, device=device) * 2
        floats = [torch.full((B,), x, device=device) for x in (1.0, float("inf"), 2.0**-126)]
        off = torch.full((B,), TOP_K_OFF, dtype=torch.int32, device=device)
        params = (floats[0], off, floats[1], floats[2], off)
        first, last = (torch.full((B, 1), u, device=device) for u in (1e-6, 0.9))
        run = partial(kernels.soft_sample, logits, *params, k=1, top_k_bound=0)
        ranks = [run(uniforms=u).drawn.ranks for u in (first, last)]
        assert (ranks[0] < 128).all() and (ranks[1] > 128).all(), "not the cases to be timed"
        runs = {
            "candidates": partial(run, uniforms=first),
            "tail": partial(run, uniforms=last),
            "sorted": partial(kernels.soft_sample.naive, logits, *params, k=1, uniforms=last),
        }
        yield f"drawing B={B} V={sizes.V}", logits.numel() * logits.element_size(), runs


def mixture_rows(sizes: Sizes, device: str):
    dtype = torch.bfloat16
    table = torch.randn(sizes.V, sizes.H, dtype=dtype, device=device)
    for soft in (True, False):
        for T in sizes.batches:
            ids = torch.randint(0, sizes.V, (T, sizes.K), dtype=torch.int32, device=device)
            weights = torch.rand(T, sizes.K, device=device).softmax(1) * soft
            tokens, rows = ids[:, 0].long(), torch.arange(T, device=device)
            inputs = (table, tokens, rows, ids, weights)
            got, want = kernels.embedding_mixture(*inputs), plain_mixture(*inputs)
            torch.testing.assert_close(got, want, rtol=2e-2, atol=2e-2)
            nbytes = T * ((sizes.K if soft else 1) + 1) * sizes.H * table.element_size()
            runs = {
                "embedding_mixture": partial(kernels.embedding_mixture, *inputs),
                "eager": partial(plain_mixture, *inputs),
                "compiled": partial(compiled(plain_mixture), *inputs),
            }
            yield (
                f"mixture {'soft' if soft else 'plain'} T={T} H={sizes.H} K={sizes.K}",
                nbytes,
                runs,
            )


def graph_rows(sizes: Sizes, device: str):
    """What a captured decode graph runs: the widest pool, embedding offsets looked up, 10 slots
    used."""
    dtype, k = torch.bfloat16, 32
    table = torch.randn(sizes.V, sizes.H, dtype=dtype, device=device)
    for T in sizes.batches:
        ids = torch.randint(0, sizes.V, (T, k), dtype=torch.int32, device=device)
        weights = torch.zeros(T, k, device=device)
        weights[:, : sizes.K] = torch.rand(T, sizes.K, device=device).softmax(1)
        offsets = torch.zeros(T, sizes.H, dtype=dtype, device=device)
        flags = torch.zeros(T, dtype=torch.bool, device=device)
        inputs = (table, ids[:, 0].long(), torch.arange(T, device=device), ids, weights)
        run = partial(kernels.embedding_mixture, *inputs, offsets=offsets, has_offset=flags)
        nbytes = T * (sizes.K + 1) * sizes.H * table.element_size()
        yield f"mixture graph T={T} H={sizes.H} k={k}", nbytes, {"embedding_mixture": run}


@cache
def compiled(function):
    """One compiled function for all shapes; on a CPU, where nothing is measured, the function
    itself."""
    return torch.compile(function, dynamic=False) if torch.cuda.is_available() else function


def _has_flashinfer() -> bool:
    try:
        import flashinfer.sampling  # noqa: F401
    except ImportError:
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="tiny shapes on whatever device there is"
    )
    parser.add_argument("--json", help="write the figures to this file as well")
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not args.dry_run:
        print("no CUDA device; --dry-run checks that the benchmark runs", file=sys.stderr)
        return 1
    sizes = TINY if args.dry_run else REAL
    name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or "CPU"
    bandwidth = sizes.copy_bytes / copy_time(sizes.copy_bytes, device).median / 1e3
    print(
        f"{name}, torch {torch.__version__}, copy bandwidth {bandwidth:.0f} GB/s (read + written)"
    )
    if args.dry_run:
        print("dry run: the figures mean nothing")
    print(
        f"{'case':36}{'implementation':20}{'us':>9}{'p20-p80':>16}{'x floor':>9}{'x same copy':>13}"
    )
    figures = []
    for rows in (mixture_rows, graph_rows, sampling_rows, drawing_rows):
        for case, nbytes, runs in rows(sizes, device):
            floor, same = nbytes / bandwidth / 1e3, copy_time(nbytes, device).median
            for implementation, run in runs.items():
                t = measure(run, device)
                spread = f"{t.low:.1f}-{t.high:.1f}"
                print(f"{case:36}{implementation:20}{t.median:9.1f}{spread:>16}", end="")
                print(f"{t.median / floor:9.2f}{t.median / same:13.2f}")
                entry = {
                    "case": case,
                    "implementation": implementation,
                    "bytes": nbytes,
                    "floor_us": floor,
                }
                figures.append(entry | {"same_copy_us": same} | t._asdict())
    if args.json:
        report = {
            "device": name,
            "torch": torch.__version__,
            "copy_gb_s": bandwidth,
            "figures": figures,
        }
        with open(args.json, "w") as file:
            json.dump(report | {"dry_run": args.dry_run}, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
