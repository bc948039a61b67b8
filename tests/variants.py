"""Variants of kernels that Triton would compile, found without a GPU."""

from triton.backends.compiler import GPUTarget
from triton.compiler.compiler import make_backend
from triton.runtime.jit import create_function_from_signature


class Recorder:
    """A kernel that keeps what Triton would look up in its cache of compiled code."""

    def __init__(self, kernel, keys: set[str]) -> None:
        backend = make_backend(GPUTarget("cuda", 90, 32))
        self._bind = create_function_from_signature(kernel.signature, kernel.params, backend)
        self._keys = keys

    def __getitem__(self, grid):
        return self._launch

    def _launch(self, *args, **kwargs) -> None:
        _, specialization, options = self._bind(*args, **kwargs)
        self._keys.add(str((specialization, options)))
