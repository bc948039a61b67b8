"""The independent oracle: what a trace must be, from the definitions alone, with Hugging Face
transformers in float32.

It shares no code with the plugin and imports neither it nor SGLang. Reading order: steps (Soft
Thinking itself), noise, candidates, methods, swireasoning, loop, trace.
"""

from .loop import run
from .request import Request
from .steps import ThinkingStep, thinking_step
from .trace import Concept, Observed, Trace, TraceMismatch, compare

__all__ = [
    "Concept",
    "Observed",
    "Request",
    "ThinkingStep",
    "Trace",
    "TraceMismatch",
    "compare",
    "run",
    "thinking_step",
]
