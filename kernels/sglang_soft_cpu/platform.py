"""Platform class that runs SGLang on a CPU with PyTorch operators only.

SGLang's own CPU engine needs a build of sglang-kernel that its wheel does not hold; out-of-tree
platforms (sglang.srt.platforms) need nothing but this class.
"""

from sglang.srt.model_executor.cuda_graph_config import Backend, Phase, with_phase
from sglang.srt.platforms.cpu import CpuDeviceMixin
from sglang.srt.platforms.device_mixin import PlatformEnum
from sglang.srt.platforms.interface import SRTPlatform

from sglang_soft_cpu import attention, deterministic

DEFAULT_KV_TOKENS = 65536
DEFAULT_RUNNING_REQUESTS = 64


class CpuPlatform(CpuDeviceMixin, SRTPlatform):
    _enum = PlatformEnum.OOT

    def apply_server_args_defaults(self, server_args) -> None:
        """What a plain `launch_server` needs on a CPU; flags that were given win where SGLang
        allows it.

        Raises ValueError: a flag by which any request would end the server on a CPU."""
        if server_args.enable_strict_thinking:
            raise ValueError(
                "--enable-strict-thinking needs a GPU: SGLang has its mask of tokens for GPUs only"
            )
        attention.register()
        server_args.device = "cpu"
        # "intel_amx" is what SGLang assumes on a CPU when nothing was asked for; this platform is
        # for CPUs without it.
        if server_args.attention_backend in (None, "intel_amx"):
            server_args.attention_backend = attention.NAME
        graphs = server_args.cuda_graph_config
        for phase in (Phase.DECODE, Phase.PREFILL):
            graphs = with_phase(graphs, phase, backend=Backend.DISABLED)
        server_args.cuda_graph_config = graphs
        if server_args.dtype == "auto":
            server_args.dtype = "float32"
        # An idle scheduler polls; here it would take a core from the requests' other processes.
        server_args.sleep_on_idle = True
        # SGLang sizes the KV cache to fill the accelerator's memory. Here that is the machine's own
        # memory.
        if server_args.max_total_tokens is None:
            server_args.max_total_tokens = DEFAULT_KV_TOKENS
        if server_args.max_running_requests is None:
            server_args.max_running_requests = DEFAULT_RUNNING_REQUESTS

    def get_device(self, device_id: int = 0) -> str:
        # A name, not a torch.device: ServerArgs resolution splits it at ":".
        return "cpu"

    def get_default_attention_backend(self) -> str:
        return attention.NAME

    def init_backend(self) -> None:
        """Called in every process that runs a model."""
        from sglang.srt import batch_invariant_ops

        attention.register()
        batch_invariant_ops.enable_batch_invariant_mode = deterministic.enable

    def get_dispatch_key_name(self) -> str:
        return "native"
