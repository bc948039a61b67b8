"""Decode attention on the CPU: `soft_cpu` against SGLang's `torch_native`, alternating in one
process.

    python kernels/bench/bench_cpu_attention.py [--requests 32] [--repeats 40] [--threads 1]

One step is what a decode step of a model asks of its attention backend: `init_forward_metadata`
once, then one call a layer, KV writes included. No model, no scheduler. On a busy machine trust the
fastest steps.
"""

import argparse
import statistics
import time
from types import SimpleNamespace

import torch
from sglang.srt.layers.attention.torch_native_backend import TorchNativeAttnBackend
from sglang.srt.layers.radix_attention import RadixAttention
from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool, ReqToTokenPool
from sglang.srt.model_executor.forward_batch_info import ForwardMode
from sglang_soft_cpu import attention


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    for name, default in (
        ("requests", 32), ("layers", 3), ("heads", 2), ("kv-heads", 1), ("head-dim", 64),
        ("shortest", 50), ("longest", 200), ("repeats", 40), ("threads", 1),
    ):  # fmt: skip
        add(f"--{name}", type=int, default=default)
    add("--dtype", choices=["float32", "bfloat16"], default="float32")
    return parser.parse_args()


def batch_of(args) -> tuple[SimpleNamespace, SimpleNamespace]:
    """A runner with SGLang's pools, and a decode batch of random lengths, its slots scattered."""
    lens = torch.randint(args.shortest, args.longest + 1, (args.requests,))
    size, total = 2 * int(lens.sum()) + 8192, int(lens.sum())
    pool = MHATokenToKVPool(
        size=size,
        page_size=1,
        dtype=getattr(torch, args.dtype),
        head_num=args.kv_heads,
        head_dim=args.head_dim,
        layer_num=args.layers,
        device="cpu",
        enable_memory_saver=False,
    )
    rows = ReqToTokenPool(args.requests, args.longest + 1, "cpu", enable_memory_saver=False)
    slots = (torch.randperm(size)[:total] + 1).split(lens.tolist())
    for row, own in enumerate(slots, 1):
        rows.req_to_token[row, : len(own)] = own.int()
    batch = SimpleNamespace(
        forward_mode=ForwardMode.DECODE,
        encoder_lens=None,
        req_pool_indices=torch.arange(1, args.requests + 1),
        seq_lens=lens,
        out_cache_loc=torch.stack([own[-1] for own in slots]),
    )
    runner = SimpleNamespace(
        device="cpu", use_mla_backend=False, req_to_token_pool=rows, token_to_kv_pool=pool
    )
    return runner, batch


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    runner, batch = batch_of(args)
    layers = [
        RadixAttention(args.heads, args.head_dim, args.head_dim**-0.5, args.kv_heads, i)
        for i in range(args.layers)
    ]
    q, k, v = (
        torch.randn(args.requests, n, args.head_dim, dtype=getattr(torch, args.dtype))
        for n in (args.heads, args.kv_heads, args.kv_heads)
    )
    backends = {
        "torch_native": TorchNativeAttnBackend(runner),
        "soft_cpu": attention.create(runner),
    }

    def step(backend) -> torch.Tensor:
        backend.init_forward_metadata(batch)
        return torch.stack(
            [backend.forward_decode(q.flatten(1), k, v, layer, batch) for layer in layers]
        )

    seconds: dict[str, list[float]] = {name: [] for name in backends}
    with torch.no_grad():
        outputs = [step(backend) for backend in backends.values() for _ in range(3)]  # warm-up
        for _ in range(args.repeats):
            for name, backend in backends.items():  # alternating: both meet the same noise
                start = time.perf_counter()
                step(backend)
                seconds[name].append(time.perf_counter() - start)

    settings = " ".join(f"{key}={value}" for key, value in vars(args).items())
    print(f"{settings} torch={torch.__version__} mean_length={batch.seq_lens.float().mean():.0f}")
    print(f"largest difference of the outputs: {(outputs[0] - outputs[-1]).abs().max():.1e}")
    for name, values in seconds.items():
        deciles = statistics.quantiles((1e3 * s for s in values), n=10)
        print(
            f"{name:12} median {deciles[4] / args.layers:7.3f} ms a layer, {deciles[4]:7.3f} ms a "
            f"step (10-90%: {deciles[0]:.3f}-{deciles[8]:.3f}, fastest {1e3 * min(values):.3f}, "
            f"n={len(values)})"
        )
    ratios = sorted(a / b for a, b in zip(*seconds.values(), strict=True))
    fastest = [min(values) for values in seconds.values()]
    deciles = statistics.quantiles(ratios, n=10)
    print(
        f"{'ratio':12} median {deciles[4]:.1f} (10-90%: {deciles[0]:.1f}-{deciles[8]:.1f}), "
        f"of the fastest steps {fastest[0] / fastest[1]:.1f}"
    )


if __name__ == "__main__":
    main()
