"""Facts of a step's logits as a compiled loop; `naive` is the specification."""

import numpy as np
import torch

from .. import layout
from ..compiled import compiled, index_array
from .naive import COLUMNS, LogitFacts


def _facts_loop(CLOSING_SIZE: int, MATCH: int):
    @compiled
    def facts_loop(logits, index, ints, rows, delimiters, packed):
        floats = packed.view(np.float32)
        for a in range(packed.shape[0]):
            z = logits[index[a] if index.size > 0 else a]
            token = delimiters[rows[a], ints[a, CLOSING_SIZE] + ints[a, MATCH]]
            if not 0 <= token < z.size:
                raise IndexError("think-end outside the vocabulary")
            logit, first, second = z[token], -np.float32(np.inf), -np.float32(np.inf)
            rank, finite, total = 1, 0, 0.0
            for value in z:
                if value > first:
                    first, second = value, first
                elif value > second:
                    second = value
                rank += value > logit
                if value > -np.inf:
                    finite += 1
                    total += value
            Z, weighted = 0.0, 0.0
            for value in z:
                x = max(value - first, np.float32(-1e30))
                e = np.exp(x)
                Z += e
                weighted += x * e
            packed[a, 0] = token
            packed[a, 1] = rank
            floats[a, 2] = logit
            floats[a, 3] = first
            floats[a, 4] = second
            floats[a, 5] = total / finite
            floats[a, 6] = np.log(Z) - weighted / Z
            floats[a, 7] = 1 / Z

    return facts_loop


facts_loop = _facts_loop(layout.CLOSING_SIZE, layout.MATCH)


def logit_facts(logits, ints, rows, delimiters, index=None):
    A = len(ints)
    assert len(rows) == A and len(logits if index is None else index) == A, "rows of two batches"
    packed = torch.empty((A, COLUMNS), dtype=torch.int32)
    facts_loop(
        logits.float().numpy(), index_array(index), ints.numpy(), rows.numpy(),
        delimiters.numpy(), packed.numpy(),
    )  # fmt: skip
    return LogitFacts(packed)
