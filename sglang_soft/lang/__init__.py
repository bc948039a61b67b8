"""Soft Thinking in programs of SGLang's frontend language.

`gen` is `sgl.gen` with the arguments `soft_thinking` and `continue_from`. `RuntimeEndpoint` and
`EngineBackend` are the backends that send them. After a soft thought the text that follows
continues from its concept tokens. Nothing of SGLang is replaced: `gen` returns SGLang's own
expressions, and the backends are subclasses of SGLang's.
"""

import os
from importlib.metadata import version

from sglang_soft.lang.endpoint import RuntimeEndpoint
from sglang_soft.lang.engine import EngineBackend
from sglang_soft.lang.gen import gen
from sglang_soft.plugin import ANY_SGLANG, SGLANG_WINDOW

__all__ = ["EngineBackend", "RuntimeEndpoint", "gen"]

if version("sglang") not in SGLANG_WINDOW and os.environ.get(ANY_SGLANG) != "1":
    # What `options.py` and `prefix.py` say of SGLang's interpreter was read in these releases.
    raise ImportError(
        f"sglang_soft.lang supports sglang {', '.join(SGLANG_WINDOW)}, found {version('sglang')}."
    )
