"""The out-of-tree CPU platform: the real engine on any machine without an accelerator."""


def activate() -> str | None:
    """Entry point of the group `sglang.srt.platforms`.

    Returns:
        The platform class, or None where SGLang has a platform of its own to offer (any
        accelerator, or its own CPU engine asked for with SGLANG_USE_CPU_ENGINE=1).
    """
    import os

    import torch

    accelerators = (torch.cuda, getattr(torch, "xpu", None), getattr(torch, "npu", None))
    if os.getenv("SGLANG_USE_CPU_ENGINE") == "1" or any(
        a and a.is_available() for a in accelerators
    ):
        return None
    return "sglang_soft_cpu.platform.CpuPlatform"
