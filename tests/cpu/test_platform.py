"""What the CPU platform makes of SGLang's server arguments."""

import pytest
from sglang.srt.server_args import ServerArgs
from sglang_soft_cpu.platform import CpuPlatform


def test_strict_thinking_is_refused():
    """Every request would end the server: `Unsupported device: cpu`."""
    args = ServerArgs(model_path="none", enable_strict_thinking=True)
    with pytest.raises(ValueError, match="--enable-strict-thinking needs a GPU"):
        CpuPlatform().apply_server_args_defaults(args)
