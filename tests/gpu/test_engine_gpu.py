"""The engine on CUDA: with and without CUDA graphs, against the float32 oracle; and no
synchronisation in our code.

One engine after the other answers the same batch: FlashInfer attention in bfloat16, overlap
schedule on, soft and hard requests together.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest

from sglang_soft import methods
from tests.engine.cases import observed
from tests.gpu import requests
from tests.gpu.rounding import TOLERANCE, first_difference, judge, oracle_logits, until_eos
from tests.models import tiny
from tests.oracle import Observed

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("cuda")]

ENGINES = {
    "graphs": {},
    "no graphs": {"disable_decode_cuda_graph": True, "disable_prefill_cuda_graph": True},
}


@pytest.fixture(scope="module")
def oracle(cuda):
    """(model in float32 on the CPU, tokenizer)"""
    return tiny.load(requests.MODEL)


@pytest.fixture(scope="module")
def answers(cuda, oracle) -> dict[str, list[Observed]]:
    """By engine: what it made of every case, up to the end of its text."""
    import sglang

    _, tokenizer = oracle
    found = {}
    for name, arguments in ENGINES.items():
        engine = sglang.Engine(
            model_path=str(requests.MODEL),
            dtype="bfloat16",
            attention_backend="flashinfer",
            random_seed=1,
            max_total_tokens=8192,
            max_running_requests=len(requests.CASES),
            cuda_graph_max_bs_decode=len(requests.CASES),
            log_level="warning",
            **arguments,
        )
        try:
            graphs = engine.get_server_info()["internal_states"][0]["memory_usage"]["graph"][
                "decode"
            ]
            assert (graphs > 0) == (not arguments), f"{name}: {graphs} GB of captured decode graphs"
            outs = engine.generate(
                input_ids=[case.prompt_ids(tokenizer) for case in requests.CASES],
                sampling_params=[case.sampling() for case in requests.CASES],
            )
        finally:
            engine.shutdown()
        found[name] = [until_eos(observed(out), tokenizer.eos_token_id) for out in outs]
    return found


@pytest.mark.parametrize("engine_name", ENGINES)
def test_against_the_float32_oracle(answers, oracle, engine_name):
    model, tokenizer = oracle
    thought = 0
    for case, answer in zip(requests.CASES, answers[engine_name], strict=True):
        thought += answer.thinking_tokens
        assert bool(answer.concepts) == case.soft
        judge(model, case.prompt_ids(tokenizer), answer, case.request(tokenizer))
    assert thought > 50, "hardly any step was a soft one"


def test_graphs_on_and_off_agree(answers, oracle):
    """Attention with graphs may split its sums in another way: the first difference must be a tie
    for the oracle."""
    model, tokenizer = oracle
    for case, ours, theirs in zip(requests.CASES, *answers.values(), strict=True):
        position = first_difference(ours, theirs)
        if position is None:
            assert len(ours.output_ids) == len(theirs.output_ids)
            continue
        logits = oracle_logits(model, case.prompt_ids(tokenizer), ours, first_step=0)[position]
        margin = float(
            logits.max()
            - min(logits[ours.output_ids[position]], logits[theirs.output_ids[position]])
        )
        assert margin < TOLERANCE.tie, (
            f"{case}: differ at {position}, where the oracle's margin is {margin:.3g}"
        )


@contextmanager
def no_synchronisation() -> Iterator[None]:
    """Any call that waits for the device raises."""
    import torch

    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def decode_steps(
    device: str, method: str, rows: int = 8, vocabulary: int = 5000, steps: int = 3
) -> None:
    """What the plugin does in a decode step: concept tokens, merge, state, the record for the host,
    the mixture. The first round compiles the kernels; the others must not wait for the device."""
    import torch
    from sglang_soft_kernels import embedding_mixture
    from sglang_soft_kernels.layout import THOUGHT

    from sglang_soft.plan import plan_forward
    from sglang_soft.pool import ConceptPool
    from sglang_soft.request import Phase, SoftRequest
    from sglang_soft.step import concept_step
    from sglang_soft.transfer import DeviceConcepts
    from tests.soft_params import soft_params

    own = methods.get(method)
    args = own.args({field.name: field.default for field in own.fields})
    params = soft_params(method=method, args=args, cold_stop_steps=256, think_end_id=vocabulary - 1)
    pool = ConceptPool(rows + 1, 32, device, hidden_size=256, dtype=torch.bfloat16)
    soft = [SoftRequest(params) if i % 2 else None for i in range(rows)]
    pool.start(range(1, rows + 1), soft)
    index = torch.arange(1, rows + 1, device=device)
    plan = plan_forward(pool, index, soft)
    logits = torch.randn(rows, vocabulary, device=device) * 4
    logits[:, -1] = -100  # no row ends its thinking
    hidden = (
        torch.randn(rows, 256, dtype=torch.bfloat16, device=device) if plan.reads_hidden else None
    )
    table = torch.randn(vocabulary, 256, dtype=torch.bfloat16, device=device)
    tokens = torch.full((rows,), 7, device=device)

    def step() -> DeviceConcepts:
        outcome = concept_step(plan, logits, hidden)
        outcome.merge(tokens)
        outcome.advance(plan, tokens)
        vectors = (
            {"vectors": pool.vectors, "has_vector": pool.has_vector} if plan.feeds_vector else {}
        )
        embedding_mixture(table, tokens, index, pool.ids[:, :10], pool.weights[:, :10], **vectors)
        return DeviceConcepts.of(outcome, plan)

    step()
    with no_synchronisation() if device == "cuda" else nullcontext():
        for _ in range(steps):
            last = step()
    host = last.copy_to_host(lambda tensor: tensor.cpu())
    host.consume(None, [SimpleNamespace(token_ids=(token,)) for token in tokens.tolist()])
    assert [request.thinking_tokens for request in soft if request] == [1] * (rows // 2)
    assert pool.ints[1:, THOUGHT].tolist() == [0, steps + 1] * (rows // 2), (
        "not every soft row thought at every step"
    )
    assert all(request is None or request.phase == Phase.THINK for request in soft)


@pytest.mark.parametrize("method", methods.names())
def test_decode_steps_do_not_synchronise(cuda, method):
    decode_steps(cuda, method)
