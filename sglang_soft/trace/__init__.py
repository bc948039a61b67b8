"""`Trace`: everything one request thought, as one value.

Plain numpy columns; positions count from the first token of the prompt. The engine keeps one for
each soft request, a re-prefill reads its inputs from it, a client gets it as JSON
(`return_concepts`), and it is kept as npz. Imports neither torch nor sglang.
"""

from sglang_soft.trace.reasons import FINISH_REASONS, THINK_END_REASONS
from sglang_soft.trace.steps import Steps, StepsDelta
from sglang_soft.trace.trace import Concept, Trace

__all__ = ["FINISH_REASONS", "THINK_END_REASONS", "Concept", "Steps", "StepsDelta", "Trace"]
