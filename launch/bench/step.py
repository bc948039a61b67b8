"""The time that the plugin's own code adds to a decode step, and the host memory of a trace. On CPU
tensors, with one thread; needs no engine.

    python -m launch.bench.step [--rows 32] [--soft 32] [--vocabulary 128]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace

import torch
from sglang_soft_kernels import embedding_mixture

from launch.bench.turns import markdown
from sglang_soft import methods
from sglang_soft.engine.inputs import decode_embed, prepare
from sglang_soft.engine.pool import ConceptPool
from sglang_soft.engine.request import SoftRequest
from sglang_soft.engine.step import StepOutput, concept_step
from sglang_soft.params import RequestParams, Sampling

VOCABULARY = HIDDEN = 128
"""The bundled model's, and the default."""


def microseconds(run: Callable[[], object], repeats: int = 300) -> tuple[float, float]:
    """(median, 90th percentile) of one call."""
    for _ in range(20):
        run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e6)
    return statistics.median(times), statistics.quantiles(times, n=10)[8]


def soft_request() -> SoftRequest:
    """One of method `soft` whose concept tokens have all k entries in use."""
    params = RequestParams(
        params=methods.get("soft").Params(), thinking=Sampling(1.0, 1.0, -1, 0.0), seed=0,
        max_new_tokens=64, think_start=(4,), think_end=(5,), starts_thinking=True,
    )  # fmt: skip
    return SoftRequest(params, prompt_len=2)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=32, help="requests (default: %(default)s)")
    parser.add_argument("--soft", type=int, help="how many of them think (default: all)")
    parser.add_argument("--vocabulary", type=int, default=VOCABULARY, help="default: %(default)s")
    args = parser.parse_args()
    rows, vocabulary = args.rows, args.vocabulary
    thinking = rows if args.soft is None else args.soft
    if not 0 < thinking <= rows:
        parser.error(f"--soft must be 1 to {rows}; got {thinking}")
    torch.set_num_threads(1)
    torch.manual_seed(0)

    requests = [soft_request() for _ in range(thinking)]
    batch = [*requests, *[None] * (rows - thinking)]
    pool = ConceptPool(rows + 1, 32, "cpu")
    pool.start(range(1, rows + 1), batch)
    index = torch.arange(1, rows + 1)
    logits, table = torch.randn(rows, vocabulary), torch.randn(vocabulary, HIDDEN)
    logits[:, 5] = -100  # no row ends its thinking
    tokens = torch.zeros(rows, dtype=torch.int64)
    inputs = prepare(pool, index, batch)
    embed = decode_embed(inputs, index)
    assert embed
    commits = [SimpleNamespace(token_ids=(1,))] * rows

    def step() -> StepOutput:
        output = concept_step(inputs, logits)
        output.overwrite_tokens(tokens)
        output.update_pool(tokens)
        return output

    output = step()
    parts = {
        "host: inputs": lambda: prepare(pool, index, batch),
        "device: embedding mixture": lambda: embedding_mixture(
            table, tokens, embed.rows, embed.ids, embed.weights
        ),
        "device: soft step and state": step,
        "host: traces": lambda: output.copy_to_host(lambda t: t).consume(None, commits),
        "(a plain embedding look-up)": lambda: torch.nn.functional.embedding(tokens, table),
    }
    k = requests[0].k
    print(f"A decode step of {rows} rows, {thinking} of them soft, V = {vocabulary}, k = {k}:\n")
    table_rows = []
    for name, run in parts.items():
        median, p90 = microseconds(run)
        table_rows.append([name, f"{median:.0f} ({p90:.0f})"])
    print(markdown(["part", "us a step: median (90th percentile)"], table_rows))
    steps = requests[0].trace.steps
    print(f"\nA trace takes {steps.nbytes / len(steps):.1f} bytes a thinking token at k = {k}.")


if __name__ == "__main__":
    main()
