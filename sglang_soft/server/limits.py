"""What Soft Thinking does not support: server modes and request features, each refused by name,
never ignored."""

from typing import Any

SERVER_LIMITS: tuple[tuple[str, Any, str], ...] = (
    ("speculative_algorithm", None, "speculative decoding"),
    ("pp_size", 1, "pipeline parallelism"),
    ("disaggregation_mode", "null", "prefill-decode disaggregation"),
    ("enable_two_batch_overlap", False, "two-batch overlap"),
    ("enable_pdmux", False, "PD multiplexing"),
    ("dllm_algorithm", None, "diffusion language models"),
    ("is_embedding", False, "embedding models"),
    ("attn_dp_size", 1, "data-parallel attention"),
    ("enable_torch_compile", False, "torch.compile"),
    ("enable_nvidia_megakernel", False, "megakernels"),
    ("use_ray", False, "Ray"),
    ("smg_grpc_mode", False, "the SMG gRPC server"),
    ("encoder_only", False, "encoder disaggregation"),
    ("decoupled_spec_role", "null", "decoupled speculative decoding"),
    ("enable_amd_monokernel", False, "monokernels"),
    ("attn_cp_size", 1, "context parallelism"),
    ("enable_attn_tp_input_scattered", False, "scattered attention inputs"),
    ("startup_weight_load_mode", "serial", "weights that are loaded after the graph capture"),
    ("aux_hidden_state_capture", None, "auxiliary hidden states"),
    ("enable_encoder_swa_bounded_replay", False, "bounded replay"),
    ("enable_decoder_swa_bounded_replay", False, "bounded replay"),
    ("kv_events_config", None, "KV events"),
    ("enable_hierarchical_cache", False, "the hierarchical cache"),
    ("enable_lmcache", False, "LMCache"),
    ("enable_flexkv", False, "FlexKV"),
    ("enable_unified_cache_external_linker", False, "external cache linkers"),
    ("radix_cache_backend", None, "radix caches of other plugins"),
    ("mlx_enable_sampling", False, "MLX"),
)
"""(field of ServerArgs, its value where Soft Thinking works, what it stands for). Where that is
false or None, so is every other value that is false: SGLang has both."""

REQUEST_LIMITS: tuple[tuple[str, str], ...] = (
    ("input_embeds", "input embeddings as the prompt"),
    ("positional_embed_overrides", "positional embedding overrides"),
    ("embed_overrides", "embedding overrides"),
    ("session_params", "sessions"),
    ("image_data", "images"),
    ("video_data", "videos"),
    ("audio_data", "audio"),
    ("return_sampling_mask", "sampling masks"),
    ("multi_item_delimiter_indices", "multi-item scoring"),
)
"""(field of GenerateReqInput, what it stands for): refused when set on a soft request."""


def unsupported_server(server_args) -> str | None:
    """Reason this server does not support Soft Thinking, or None. Reads resolved ServerArgs."""
    for field, works, name in SERVER_LIMITS:
        value = getattr(server_args, field, works)
        if value != works and (value or works):
            flag = field.replace("_", "-")
            return f"Soft Thinking does not support {name} (--{flag}={value}); start without it"
    return None


def unsupported_request(obj, sampling_params, server_args=None) -> str | None:
    """Reason this request does not support Soft Thinking, or None.

    obj: GenerateReqInput; sampling_params: SamplingParams; server_args: resolved ServerArgs, whose
    watermark is of every request that does not say otherwise.
    """
    for field, name in REQUEST_LIMITS:
        if getattr(obj, field, None):
            return f"{name} ({field})"
    if (sampling_params.beam_width or 1) > 1:
        return f"beam search (beam_width={sampling_params.beam_width})"
    if _is_watermarked(sampling_params, server_args):
        return "watermarks (watermark), which act on drawn tokens"
    return None


def _is_watermarked(sampling_params, server_args) -> bool:
    """The request asks for a watermark, or the server's --watermark-config does."""
    own = getattr(sampling_params, "watermark", None)
    if own is not None:
        return own.enabled is not False
    return getattr(server_args, "watermark_default_enabled", False) or getattr(
        server_args, "watermark_enforce_all", False
    )
