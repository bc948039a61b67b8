"""Compiled loops for CPUs.

A decode step of a small model takes a few milliseconds, and a hundred tensor operators take one of
them, whatever they compute. Numba comes with SGLang and needs no compiler; the first steps on a
machine wait some seconds for it, and what it compiles is kept next to the source or in the user's
cache. Rows are computed one after the other, so their bits do not depend on the batch.

Numba's cache watches the file of a function and the values of its closure, not the modules that it
imports. Loops that read columns of layout.py are therefore closures over them.
"""

import numba
import numpy as np
import torch

NONE: np.ndarray = np.empty(0, np.bool_)
"""In place of a bool for each row that is not there."""
NO_INDEX: np.ndarray = np.empty(0, np.int64)
"""In place of the index of a batch whose every row is computed."""


def compiled(function):
    """`function` as machine code, compiled at its first call."""
    try:
        # A row of nan is no reason to stop.
        return numba.njit(function, cache=True, error_model="numpy")
    except RuntimeError:  # no folder can be written: every process compiles anew
        return numba.njit(function, error_model="numpy")


def index_array(index: torch.Tensor | None) -> np.ndarray:
    return NO_INDEX if index is None else index.numpy()
