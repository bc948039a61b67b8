"""Is a trace what its model says? Compared step by step with a reference: a Hugging Face model or
a server.

The reference reads the prompt and then the trace's own concept tokens (teacher forcing), so that
rounding errors do not add up: each step is compared on its own, on any model, precision and device.
What a step should have fed is computed from the reference's logits by the same method.
"""

from sglang_soft.verify.report import TOLERANCE, Report, Step
from sglang_soft.verify.steps import Reference, verify

__all__ = ["TOLERANCE", "Reference", "Report", "Step", "verify"]
