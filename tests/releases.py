"""What an older SGLang of `plugin.py: SGLANG_WINDOW` lacks (`make compat`, docs/deployment.md)."""

from importlib.metadata import version

import pytest

OLD = version("sglang") == "0.5.22"


def not_on_0_5_22(why: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(OLD, reason=f"SGLang 0.5.22: {why}")
