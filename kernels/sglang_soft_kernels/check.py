"""Compile every kernel for GPUs that are not here: `python -m sglang_soft_kernels.check [--sm 80 90
100]`.

Prints registers, shared memory and spills of every variant, as ptxas left them in the machine code,
and exits with 1 if one spills or does not compile. Needs triton (whose wheel has ptxas and
cuobjdump) and no GPU.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, NamedTuple

os.environ.pop("TRITON_INTERPRET", None)  # interpreted functions cannot be compiled

import triton
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from .blending import triton as blending
from .latent import triton as latent
from .mixture import triton as mixture
from .noise import triton as noise
from .sampling import triton as sampling
from .state import triton as state
from .stopping import triton as stopping

ARCHS = (80, 90, 100)


class Variant(NamedTuple):
    """One kernel with its compile-time values; types are Triton's names ("*bf16" is a pointer)."""

    label: str
    kernel: Any
    types: dict[str, str]
    constexprs: dict[str, int | bool]
    num_warps: int


class Resources(NamedTuple):
    registers: int
    shared: int
    """Bytes of shared memory a program."""
    spills: int
    """Bytes a thread that did not fit into registers (stack and local memory)."""


def variants() -> Iterator[Variant]:
    """What the launchers ask for at the sizes of real models."""
    index_types = {"input_ids_ptr": "*i64", "rows_ptr": "*i64", "ids_ptr": "*i32"}
    index_types |= {"weights_ptr": "*fp32", "has_offset_ptr": "*i8"}
    for dtype, out, H, shard, offsets in [
        ("bf16", "bf16", 5120, False, False),
        ("bf16", "bf16", 5120, False, True),  # what a captured decode graph holds
        ("bf16", "bf16", 896, False, False),
        ("bf16", "fp32", 5120, True, False),
        ("bf16", "fp32", 5120, True, True),
        ("fp16", "fp16", 5120, False, False),
        ("fp32", "fp32", 4096, True, True),
    ]:
        config = mixture.launch_config(H)
        num_warps = config.pop("num_warps")
        types = index_types | {f"{name}_ptr": f"*{dtype}" for name in ("table", "offsets")}
        types["out_ptr"] = f"*{out}"
        notes = (" shard" if shard else "") + (" offsets" if offsets else "")
        values = config | {"SHARD": shard, "OFFSETS": offsets, "ADD_OFFSETS": offsets}
        label = f"mixture {dtype}->{out} H={H}{notes}"
        yield Variant(label, mixture.mixture_kernel, types, values, num_warps)
    yield from _sampling_variants()
    yield from _state_variants()
    yield from _noise_variants()
    yield from _blending_variants()
    yield from _latent_variants()


def _sampling_variants() -> Iterator[Variant]:
    row_types = {"index_ptr": "*i64", "temperature_ptr": "*fp32", "maxima_ptr": "*fp32"}
    row_types["shares_ptr"] = "*fp32"
    for dtype, unfiltered in [("fp32", False), ("fp32", True), ("bf16", False)]:
        types = row_types | {"logits_ptr": f"*{dtype}"}
        label = f"scan {dtype}{' unfiltered' if unfiltered else ''}"
        yield Variant(label, sampling.scan_kernel, types, {"UNFILTERED": unfiltered}, 8)
    floats = ["top_p", "min_p", "weights", "entropy", "max_prob", "ratios", "entropy_1"]
    floats += ["totals", "beyond", "uniforms", "probs"]
    types = row_types | {f"{name}_ptr": "*fp32" for name in floats}
    integers = ("top_k", "num_candidates", "sizes", "blocks", "ids", "top_ids", "counts", "ranks")
    types |= {f"{name}_ptr": "*i32" for name in integers}
    types |= {"logits_ptr": "*fp32", "keys_ptr": "*i64", "order_ptr": "*i64"}
    for V, W in [(151_936, 16), (151_936, 32), (262_144, 64), (262_144, 128), (111, 16)]:
        config = sampling.launch_config(V, W)
        num_warps = config.pop("num_warps")
        label = f"finish V={V} W={W}"
        yield Variant(label, sampling.finish_kernel, types, config, num_warps)
        if W == sampling.MAX_WIDTH:
            values = {"NT_POW2": config["NT_POW2"], "W": W}
            warps = sampling.TAIL_WARPS
            yield Variant(f"total V={V}", sampling.total_kernel, types, values, warps)
            yield Variant(f"draw V={V}", sampling.draw_kernel, types, {}, warps)


def _state_variants() -> Iterator[Variant]:
    names = ("ids", "token", "ints", "packed", "before", "delimiters")
    types = {f"{name}_ptr": "*i32" for name in names}
    floats = ("weights", "entropy", "logits", "floats", "state")
    types |= {f"{name}_ptr": "*fp32" for name in floats}
    types |= {f"{name}_ptr": "*i64" for name in ("tokens", "rows", "index")}
    types |= {f"{name}_ptr": "*i8" for name in ("force_end", "stops")}
    for name in ("finish_step", "overwrite_tokens", "update_pool"):
        yield Variant(name, getattr(state, f"{name}_kernel"), types, {}, state.WARPS)
    types |= {f"{name}_ptr": "*bf16" for name in ("offsets", "pool_offsets")}
    types["pool_has_offset_ptr"] = "*i8"
    types["logits_ptr"] = "*fp32"
    yield Variant("logit_facts", stopping.logit_facts_kernel, types, {}, stopping.WARPS)
    yield Variant("write_offsets", state.write_offsets_kernel, types, {}, state.OFFSET_WARPS)


def _noise_variants() -> Iterator[Variant]:
    types = {f"{name}_ptr": "*i32" for name in ("position", "table", "own")}
    types |= {f"{name}_ptr": "*fp32" for name in ("out", "shape", "uniforms")}
    types |= {f"{name}_ptr": "*i64" for name in ("seed", "rows")}
    for lanes in ("i32", "i64"):
        own = types | {"lanes_ptr": f"*{lanes}"}
        yield Variant(f"noise lanes {lanes}", noise.noise_kernel, own, {}, noise.WARPS)
    types["lanes_ptr"] = "*i32"
    yield Variant("log_gamma", noise.log_gamma_kernel, types, {}, noise.WARPS)
    yield Variant("gather_rows", noise.gather_rows_kernel, types, {}, noise.WARPS)


def _blending_variants() -> Iterator[Variant]:
    integers = ("ids", "max_topk", "drawn", "token", "out_ids", "output_token", "ranks", "counts")
    types = {f"{name}_ptr": "*i32" for name in (*integers, "ints", "marker")}
    floats = ["scores", "temperature", "share", "out_weights", "out", "probs", "by_probability"]
    floats += ["entropy", "state", "args", "after", "shown"]
    types |= {f"{name}_ptr": "*fp32" for name in floats}
    types |= {f"{name}_ptr": "*i8" for name in ("soft", "guarded", "alone", "force_end")}
    for name, warps in (
        ("compose", blending.WARPS), ("merge_draws", blending.WARPS),
        ("normalised_entropy", 1), ("gate_by_entropy", 1), ("switch_modes", 1),
    ):  # fmt: skip
        yield Variant(name, getattr(blending, f"{name}_kernel"), types, {}, warps)


def _latent_variants() -> Iterator[Variant]:
    types = {f"{name}_ptr": "*i32" for name in ("ints", "top", "drawn", "ids")}
    floats = ("entropy", "state", "args", "weights", "after")
    types |= {f"{name}_ptr": "*fp32" for name in floats} | {"norm": "fp32"}
    types |= {f"{name}_ptr": "*i8" for name in ("used", "stops", "latent")}
    yield Variant("leave_latent", latent.leave_latent_kernel, types, {}, 1)
    for hidden, out in (("bf16", "bf16"), ("fp32", "bf16"), ("fp32", "fp32")):
        own = types | {"hidden_ptr": f"*{hidden}", "out_ptr": f"*{out}"}
        label = f"match_norm {hidden}->{out}"
        yield Variant(label, latent.match_norm_kernel, own, {}, latent.WARPS)


def compile_variant(variant: Variant, sm: int) -> Resources:
    """Compile for one architecture (the next time it is in Triton's cache) and read the cubin's
    resources."""
    names = variant.kernel.arg_names
    signature = {
        n: "constexpr" if n in variant.constexprs else variant.types.get(n, "i32") for n in names
    }
    # As at launch time: pointers and row strides of real models are multiples of 16.
    aligned = {
        (i,): [["tt.divisibility", 16]]
        for i, n in enumerate(names)
        if (signature[n][0] == "*" or n in _ALIGNED)
        and not variant.kernel.params[i].do_not_specialize
    }
    constexprs = {(names.index(n),): value for n, value in variant.constexprs.items()}
    source = ASTSource(fn=variant.kernel, signature=signature, constexprs=constexprs, attrs=aligned)
    compiled = triton.compile(
        source, target=GPUTarget("cuda", sm, 32), options={"num_warps": variant.num_warps}
    )
    registers, stack, local = _usage(compiled.asm["cubin"])
    return Resources(registers, compiled.metadata.shared, stack + local)


_ALIGNED = ("H", "V", "table_stride", "offsets_stride", "out_stride", "logits_stride")


def _usage(cubin: bytes) -> tuple[int, int, int]:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [knobs.nvidia.cuobjdump.path, "--dump-resource-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    match = re.search(r"REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)", text)
    if match is None:
        raise RuntimeError(f"cuobjdump printed no resource usage:\n{text}")
    return int(match[1]), int(match[2]), int(match[3])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sm", type=int, nargs="+", default=ARCHS, help="compute capabilities, e.g. 80 90 100"
    )
    args = parser.parse_args(argv)
    print(f"triton {triton.__version__}")
    print(f"{'kernel':40}{'sm':>5}{'warps':>7}{'registers':>11}{'shared':>8}{'spills':>8}")
    failures = 0
    for variant in variants():
        for sm in args.sm:
            try:
                r = compile_variant(variant, sm)
            except Exception as error:  # reported below: one broken kernel must not hide the others
                failures += 1
                print(f"{variant.label:40}{sm:>5}  does not compile: {error}")
                continue
            failures += r.spills > 0
            print(
                f"{variant.label:40}{sm:>5}{variant.num_warps:>7}{r.registers:>11}{r.shared:>8}{r.spills:>8}"
            )
    print(f"{failures} failed" if failures else "no spills")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
