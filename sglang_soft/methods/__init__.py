"""Thinking methods: one file each, with the interface of `base.py`, and the registry that every
process fills alike.

A method of one's own: subclass `Method`, call `register` when its module is imported, and name the
module in `--soft-methods` (SGLANG_SOFT_METHODS), or in the entry-point group `sglang_soft.methods`
of an installed package.
"""

from functools import cache

from sglang_soft import extensions
from sglang_soft.methods.base import Draw, Method, NextInput, StepContext

__all__ = [
    "ENTRY_POINTS",
    "Draw",
    "Method",
    "NextInput",
    "StepContext",
    "get",
    "names",
    "register",
    "registry",
]

ENTRY_POINTS = "sglang_soft.methods"
_BUILT_IN = (
    "soft.Soft", "soft_gumbel.SoftGumbel", "soft_dirichlet.SoftDirichlet", "moi.MixtureOfInputs",
    "multiplex.Multiplex", "swireasoning.SwiReasoning", "selar.SeLaR", "thinkrouter.ThinkRouter",
    "average.Average", "soft_noise.SoftNoise", "coconut_tf.CoconutTF", "cot.CoT",
    "latent_mas.LatentMAS", "later.LaTER",
)  # fmt: skip
_methods = extensions.Registry[Method](
    __name__, _BUILT_IN, ENTRY_POINTS, "--soft-methods", "SGLANG_SOFT_METHODS"
)


def register(method: Method) -> Method:
    """Add a method. The order of registration numbers the methods, so it must be the same in every
    process.

    Raises:
        ValueError: its name, or a parameter's name, is taken.
    """
    taken = {p.name: m.name for m in _methods.known.values() for p in m.own_parameters()}
    if method.name in _methods.known:
        raise ValueError(f"thinking method {method.name!r} is registered twice.")
    for p in method.own_parameters():
        if p.name in taken:
            raise ValueError(f"parameter {p.name!r} of {method.name} belongs to {taken[p.name]}.")
    _methods.known[method.name] = method
    return method


def registry() -> dict[str, Method]:
    """Every method by name: the built-in ones, installed packages' ones, then those of
    SGLANG_SOFT_METHODS.

    Raises:
        ValueError: a module cannot be imported, or what it registers is taken.
    """
    return _methods.filled(register)


def names() -> tuple[str, ...]:
    return tuple(registry())


def get(name: str) -> Method:
    return registry()[name]


def state_columns() -> int:
    """Columns of the largest state of a method. That of a stopping rule begins after them."""
    return max(len(method.state) for method in registry().values())


@cache
def number(name: str) -> int:
    """The number of a method, which device rows hold in place of its name."""
    return names().index(name)
