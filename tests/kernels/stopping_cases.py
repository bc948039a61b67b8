"""Facts of logits, against the definitions in float64, one row after the other."""

import math

import torch
from sglang_soft_kernels import layout, sequences

SIZES = ((1, 7), (3, 1000), (5, 4096), (4, 9001))
"""Rows and vocabulary."""


def make(rows: int, V: int, device: str, dtype: torch.dtype = torch.float32) -> dict:
    """Logits of a batch that is twice as large, with ties, forbidden tokens and a sure row."""
    g = torch.Generator().manual_seed(V)
    logits = torch.randn(2 * rows, V, generator=g) * 4
    logits[1] = logits[1].round()  # equal ones, also at the top
    logits[-1, torch.randperm(V, generator=g)[: V // 2]] = -math.inf
    logits[2 % len(logits), 3] = 300.0
    ints = torch.zeros((rows, layout.INT_COLUMNS), dtype=torch.int32)
    ints[:, layout.CLOSING_SIZE] = torch.arange(rows) % 3
    ints[:, layout.MATCH] = torch.arange(rows) % 2
    shape = (rows + 3, sequences.DELIMITER_COLUMNS)
    delimiters = torch.randint(0, V, shape, generator=g, dtype=torch.int32)
    index = torch.arange(rows) * 2 + 1
    pool_rows = torch.randperm(rows + 3, generator=g)[:rows]
    found = {"logits": logits.to(dtype), "ints": ints, "rows": pool_rows, "delimiters": delimiters}
    return {name: x.to(device) for name, x in (found | {"index": index}).items()}


def check_facts(logit_facts, rows: int, V: int, device: str, dtype=torch.float32) -> None:
    inputs = make(rows, V, device, dtype)
    before = inputs["logits"].clone()
    facts = logit_facts(*inputs.values())
    assert torch.equal(inputs["logits"], before)
    for a in range(rows):
        z = inputs["logits"][inputs["index"][a]].cpu().double()
        at = int(inputs["ints"][a, layout.CLOSING_SIZE] + inputs["ints"][a, layout.MATCH])
        e = int(inputs["delimiters"][inputs["rows"][a], at])
        log_p = z.log_softmax(0)
        some = z[z > -math.inf]
        largest, second = z.sort(descending=True).values[:2].tolist()
        exact = {"token": e, "logit": float(z[e]), "largest": largest, "second": second,
                 "rank": 1 + int((z > z[e]).sum())}  # fmt: skip
        for name, value in exact.items():
            assert float(getattr(facts, name)[a]) == value, (name, a)
        close = {
            "mean": float(some.mean()),
            "entropy": -float((log_p.exp() * log_p.clamp(min=-1e30)).sum()),
            "max_prob": math.exp(float(log_p.max())),
        }
        for name, value in close.items():
            found = float(getattr(facts, name)[a])
            assert abs(found - value) <= 1e-5 * max(1.0, abs(value)), (name, a, found, value)


def check_a_row_alone(logit_facts, device: str) -> None:
    """The same bits in any batch."""
    inputs = make(5, 9001, device)
    every = logit_facts(*inputs.values()).packed
    for a in range(5):
        own = {name: inputs[name][a : a + 1] for name in ("ints", "rows", "index")}
        row = inputs["logits"][own["index"]]
        alone = logit_facts(row, own["ints"], own["rows"], inputs["delimiters"])
        assert torch.equal(alone.packed[0], every[a])
