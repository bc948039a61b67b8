"""No step of the plugin waits for the device. Needs neither SGLang nor a model."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch
from sglang_soft_kernels import embedding_mixture, layout
from sglang_soft_kernels.layout import Phase

from sglang_soft import methods, stopping
from sglang_soft.engine.inputs import decode_embed, prepare
from sglang_soft.engine.pool import ConceptPool
from sglang_soft.engine.step import StepOutput, concept_step
from sglang_soft.params import Sampling, StopParams
from tests.unit.soft_request import soft_request

H = 256


@contextmanager
def no_synchronisation() -> Iterator[None]:
    """Any call that waits for the device raises."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def decode_steps(
    device: str,
    method: str,
    top_k: int,
    rows: int = 8,
    vocabulary: int = 5000,
    steps: int = 3,
    stop: StopParams | None = None,
) -> None:
    """What the plugin does in a decode step: inputs, mixture, concept tokens, the tokens of the
    batch, state, the record for the host. The first round compiles the kernels; the others must not
    wait for the device. Every other row is discrete."""
    soft = [
        soft_request(
            method, thinking=Sampling(0.6, 0.95, top_k, 0.001), cold_stop_steps=256,
            think_end=(vocabulary - 1,), stop=stop,
        ) if i % 2 else None
        for i in range(rows)
    ]  # fmt: skip
    pool = ConceptPool(rows + 1, 32, device, hidden_size=H, dtype=torch.bfloat16)
    pool.start(range(1, rows + 1), soft)
    index = torch.arange(1, rows + 1, device=device)
    logits = torch.randn(rows, vocabulary, device=device) * 4
    logits[:, -1] = -100  # no row ends its thinking
    hidden = torch.randn(rows, H, dtype=torch.bfloat16, device=device)
    table = torch.randn(vocabulary, H, dtype=torch.bfloat16, device=device)
    tokens = torch.full((rows,), 7, device=device)

    def step() -> StepOutput:
        inputs = prepare(pool, index, soft)
        embed = decode_embed(inputs, index)
        embedding_mixture(
            table, tokens, embed.rows, embed.ids, embed.weights, offsets=embed.offsets,
            has_offset=embed.has_offset,
        )  # fmt: skip
        output = concept_step(inputs, logits, hidden if inputs.reads_hidden else None)
        output.overwrite_tokens(tokens)
        output.update_pool(tokens)
        return output

    step()
    with no_synchronisation() if device == "cuda" else nullcontext():
        for _ in range(steps):
            last = step()
    host = last.copy_to_host(lambda tensor: tensor.cpu())
    host.consume(None, [SimpleNamespace(token_ids=(token,)) for token in tokens.tolist()])
    assert [request.trace.thinking_tokens for request in soft if request] == [1] * (rows // 2)
    assert pool.ints[1:, layout.THINK_STEP].tolist() == [0, steps + 1] * (rows // 2), (
        "not every soft row had a thinking step in every step"
    )
    assert all(request is None or request.phase == Phase.THINK for request in soft)


# With top_k -1, methods that draw need the whole vocabulary.
@pytest.mark.gpu
@pytest.mark.parametrize("top_k", [30, -1])
@pytest.mark.parametrize("method", methods.names())
def test_decode_steps_do_not_synchronise(cuda, method, top_k):
    decode_steps(cuda, method, top_k)


RULES = [rule for rule in stopping.registry().values() if not rule.fused]


@pytest.mark.gpu
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_stopping_rules_do_not_synchronise(cuda, rule):
    decode_steps(cuda, "soft", 30, stop=rule.Params())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_same_rules_on_a_cpu(rule):
    decode_steps("cpu", "soft", 30, stop=rule.Params())


@pytest.mark.parametrize("top_k", [30, -1])
@pytest.mark.parametrize("method", methods.names())
def test_the_same_steps_on_a_cpu(method, top_k):
    decode_steps("cpu", method, top_k)
