"""A whole decode step of every method, through the kernels: as the specification computes it, and
each row as it is alone. Needs the plugin, not only the kernels."""

import torch
from sglang_soft_kernels import dispatch
from sglang_soft_kernels.layout import StepKind

from sglang_soft import methods
from sglang_soft.engine.inputs import prepare
from sglang_soft.engine.pool import ConceptPool
from sglang_soft.engine.step import concept_step
from sglang_soft.params import Sampling
from tests.unit.soft_request import soft_request

V, HIDDEN, STEPS = 700, 40, 2
SAMPLINGS = [
    Sampling(0.6, 0.95, 30, 0.001),
    Sampling(1.0, 1.0, -1, 0.0),
    Sampling(0.9, 0.9, 400, 0),
]


def run(names: list[str], sampling: Sampling, logits: torch.Tensor, seed: int = 0) -> list[dict]:
    """Record, offsets and tokens of STEPS steps. logits: [STEPS, N, V]."""
    batch = [
        soft_request(
            name, seed=seed + n, thinking=sampling, think_end=(V - 1,),
            max_topk=methods.get(name).Params().max_topk, cold_stop_steps=256,
        )
        for n, name in enumerate(names)
    ]  # fmt: skip
    pool = ConceptPool(len(names) + 1, 32, logits.device, hidden_size=HIDDEN)
    rows = torch.arange(1, len(names) + 1, device=logits.device)
    pool.start(rows.tolist(), batch)
    inputs, found = prepare(pool, rows, batch), []
    for step in range(STEPS):
        hidden = logits[step, :, :HIDDEN] if inputs.reads_hidden else None
        output = concept_step(inputs, logits[step], hidden)
        tokens = torch.full((len(names),), 7, device=logits.device)
        output.overwrite_tokens(tokens)
        output.update_pool(tokens)
        record, fed = output.record, pool.has_offset[rows]
        parts = {"kind": record.kind, "tokens": tokens, "ids": record.ids, "fed": fed}
        parts |= {"weights": record.weights, "state": record.state, "entropy": record.entropy}
        parts["offsets"] = pool.with_offsets()[rows] * fed[:, None]
        found.append({name: x.cpu().clone() for name, x in parts.items()})
    return found


def check_steps(sampling: Sampling, device: str, monkeypatch) -> None:
    names = list(methods.names())
    g = torch.Generator().manual_seed(3)
    logits = torch.randn(STEPS, len(names), V, generator=g) * 3
    kernels = run(names, sampling, logits.to(device))
    for n, name in enumerate(names):
        alone = run([name], sampling, logits[:, n : n + 1].to(device), seed=n)
        for mine, own in zip(kernels, alone, strict=True):
            assert _row(mine, n) == _row(own, 0), name
    with monkeypatch.context() as patch:
        patch.setattr(dispatch, "uses_triton", lambda tensor: False)
        wanted = run(names, sampling, logits)
    for got, want in zip(kernels, wanted, strict=True):
        assert (want["kind"] == StepKind.CONCEPT).all()
        for part in ("kind", "tokens", "fed"):
            assert torch.equal(got[part], want[part]), part
        used = want["weights"] != 0
        assert torch.equal(got["weights"] != 0, used)
        assert torch.equal(got["ids"][used], want["ids"][used])
        for part in ("weights", "state", "entropy", "offsets"):
            torch.testing.assert_close(got[part], want[part], rtol=2e-4, atol=2e-5)


def _row(step: dict, n: int) -> list:
    used = step["weights"][n] != 0
    parts = [step[part][n].tolist() for part in ("kind", "tokens", "fed", "entropy", "offsets")]
    return [*parts, step["ids"][n][used].tolist(), step["weights"][n][used].tolist()]
