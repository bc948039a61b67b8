"""The attention backend `soft_cpu`: a whole batch in a few matrix products.

SGLang's `torch_native` backend runs one attention call a request; for a tiny model that is most of
a decode step. Here requests are padded into groups (`attention_metadata`), and grouped-query heads
share their keys without repeats: the queries of one key/value head form the rows of one matrix.

In addition to what `torch_native` computes, the logit soft cap is applied and a hybrid
sliding-window pool is read through its own slot numbers; `torch_native` does neither. What is not
covered here goes to `torch_native`, with one warning.

Letters in shapes: T query tokens, H heads, H_kv key/value heads, G = H / H_kv, D / D_v key / value
head_dim, and the n, Q, L of `attention_metadata.Group`.
"""

import logging

import torch
from torch.nn.functional import embedding_bag

from sglang_soft_cpu import attention_rows, deterministic
from sglang_soft_cpu.attention_metadata import ForwardPlan, Group, Shape, spans_of

NAME = "soft_cpu"

logger = logging.getLogger(__name__)


def register() -> None:
    """Make `--attention-backend soft_cpu` a valid choice and teach SGLang's registry to build it.
    Re-entrant; call it in every process, before `ServerArgs` is made. Model code is imported when a
    runner builds it."""
    from sglang.srt.arg_groups.choices import (
        ATTENTION_BACKEND_CHOICES,
        add_attention_backend_choices,
        add_deterministic_attention_backend_choices,
        add_radix_supported_deterministic_attention_backend_choices,
    )
    from sglang.srt.layers.attention.attention_registry import register_attention_backend

    if NAME not in ATTENTION_BACKEND_CHOICES:
        add_attention_backend_choices([NAME])
        add_deterministic_attention_backend_choices([NAME])
        add_radix_supported_deterministic_attention_backend_choices([NAME])
    register_attention_backend(NAME)(create)


def create(runner):
    """The backend of one `ModelRunner`. Raises ValueError off the CPU."""
    from sglang.srt.layers.attention.torch_native_backend import TorchNativeAttnBackend

    if torch.device(runner.device).type != "cpu":
        raise ValueError(
            f"attention_backend={NAME!r} runs on device='cpu' only, got device={runner.device!r}"
        )
    if deterministic.is_on() and runner.dtype not in attention_rows.DTYPES:
        raise ValueError(f"--enable-deterministic-inference has no {runner.dtype} on a CPU")
    if runner.use_mla_backend:
        if deterministic.is_on():
            raise ValueError(f"--enable-deterministic-inference: {NAME} does not cover "
                             "multi-head latent attention")  # fmt: skip
        logger.warning("%s: multi-head latent attention is not covered; using torch_native", NAME)
        return TorchNativeAttnBackend(runner)
    return type("SoftCpuAttnBackend", (SoftCpuAttention, TorchNativeAttnBackend), {})(runner)


class SoftCpuAttention:
    """To be mixed in front of `TorchNativeAttnBackend`, which holds the pools and serves as the
    fallback. (Not its subclass, so that this module can be imported without SGLang's model
    code.)"""

    def __init__(self, runner):
        super().__init__(runner)
        self._warned: set[str] = set()
        # Reused by all layers and steps: fresh memory of this size would be paged in anew at each
        # gather.
        self._scratch: dict[tuple[str, torch.dtype], torch.Tensor] = {}

    def init_forward_metadata(self, forward_batch) -> None:
        super().init_forward_metadata(forward_batch)
        self.forward_metadata = None  # planned at the first layer that needs it

    def forward_decode(self, q, k, v, layer, forward_batch, save_kv_cache=True, **kwargs):
        """One token a request. q: [T, H * D], k: [T, H_kv, D], v: [T, H_kv, D_v] -> [T, H * D_v]
        like q."""
        if self._falls_back(layer, forward_batch, kwargs):
            return super().forward_decode(q, k, v, layer, forward_batch, save_kv_cache, **kwargs)
        return self._forward(q, k, v, layer, forward_batch, save_kv_cache)

    def forward_extend(self, q, k, v, layer, forward_batch, save_kv_cache=True, **kwargs):
        """As `forward_decode`, for one or more new tokens a request, after a cached prefix or
        not."""
        if self._falls_back(layer, forward_batch, kwargs):
            return super().forward_extend(q, k, v, layer, forward_batch, save_kv_cache, **kwargs)
        out = self._forward(q, k, v, layer, forward_batch, save_kv_cache)
        return out.view(q.shape) if layer.qk_head_dim == layer.v_head_dim else out

    def _falls_back(self, layer, forward_batch, kwargs: dict) -> bool:
        """Whether `torch_native` must serve this call; each reason is logged once."""
        mode, pool = forward_batch.forward_mode, self.token_to_kv_pool
        reason = None
        if layer.is_cross_attention or forward_batch.encoder_lens is not None:
            reason = "an encoder-decoder model"
        elif not (mode.is_decode() or mode.is_context_parallel_extend()):
            reason = f"forward mode {mode.name}"
        elif layer.attn_type.value == "decoder_bidirectional":
            reason = "attention type decoder_bidirectional"
        elif layer.logit_cap > 0 and layer.logit_capping_method != "tanh":
            reason = f"logit capping by {layer.logit_capping_method}"
        elif layer.xai_temperature_len is not None and layer.xai_temperature_len > 0:
            reason = "xai_temperature_len"
        elif extra := sorted(key for key, value in kwargs.items() if value is not None):
            reason = "argument " + ", ".join(extra)
        elif not all(
            b.dim() == 3 and b.is_contiguous() for b in pool.get_kv_buffer(layer.layer_id)
        ):
            reason = "a KV cache that is not [slots, heads, head_dim]"
        if reason is not None and deterministic.is_on():
            raise ValueError(f"--enable-deterministic-inference: {NAME} does not cover {reason}")
        if reason is not None and reason not in self._warned:
            self._warned.add(reason)
            logger.warning("%s does not cover %s; using torch_native there", NAME, reason)
        return reason is not None

    def _forward(self, q, k, v, layer, forward_batch, save_kv_cache: bool) -> torch.Tensor:
        from sglang.srt.mem_cache.memory_pool import KVWriteLoc

        pool = self.token_to_kv_pool
        if save_kv_cache and k is not None and v is not None:
            loc = KVWriteLoc(forward_batch.out_cache_loc, self.swa_out_cache_loc)
            pool.set_kv_buffer(layer, loc, k, v)

        decode = forward_batch.forward_mode.is_decode()
        plan = self.forward_metadata
        if plan is None or plan.forward_batch is not forward_batch:
            plan = self.forward_metadata = ForwardPlan(
                forward_batch, spans_of(forward_batch, decode)
            )

        sliding_pool = self.use_sliding_window_kv_pool and pool.layers_mapping[layer.layer_id][1]
        causal = layer.attn_type.value != "encoder_only"
        window = layer.sliding_window_size if causal or decode else None
        shape = Shape(
            heads=layer.tp_q_head_num,
            kv_heads=layer.tp_k_head_num,
            kv_width=layer.qk_head_dim + layer.v_head_dim,
            causal=causal or decode,  # a decoded token is the last one: nothing comes after it
            window=window if window is not None and window > -1 else None,
            sliding_pool=sliding_pool,
        )
        q = q.reshape(-1, layer.tp_q_head_num, layer.qk_head_dim)
        slot_map = pool.full_to_swa_index_mapping if sliding_pool else None
        if deterministic.is_on():
            return attention_rows.attend(
                q, *pool.get_kv_buffer(layer.layer_id), plan.spans,
                self.req_to_token_pool.req_to_token, slot_map=slot_map, scaling=layer.scaling,
                cap=layer.logit_cap, window=shape.window, causal=shape.causal,
            ).flatten(1)  # fmt: skip
        groups = plan.groups_for(shape, q.shape[0], self.req_to_token_pool.req_to_token, slot_map)
        k_buffer, v_buffer = pool.get_kv_buffer(layer.layer_id)
        if len(groups) == 1 and groups[0].q_rows is None:
            return self._attend(q, k_buffer, v_buffer, layer, groups[0]).flatten(1)
        # Zeros: rows that belong to no request (padding) must not carry what lay in memory before.
        out = q.new_zeros(q.shape[0], layer.tp_q_head_num, layer.v_head_dim)
        for group in groups:
            out.index_copy_(0, group.q_rows, self._attend(q, k_buffer, v_buffer, layer, group))
        return out.flatten(1)

    def _attend(self, q, k_buffer, v_buffer, layer, group: Group) -> torch.Tensor:
        """One group's outputs [n * Q, H, D_v], in the order of its `q_rows`. q: [T, H, D]; buffers:
        [slots, H_kv, D or D_v]. Computed in float32 (as `torch_native` accumulates) or q's dtype
        where wider."""
        n, kv_heads = group.count, layer.tp_k_head_num
        dtype = torch.promote_types(q.dtype, torch.float32)
        rows = q if group.q_rows is None else q.index_select(0, group.q_rows)
        rows = (rows.to(dtype) * layer.scaling).view(
            n, group.queries, kv_heads, -1, layer.qk_head_dim
        )
        rows = rows.transpose(1, 2).reshape(
            n * kv_heads, -1, layer.qk_head_dim
        )  # [n * H_kv, Q * G, D]
        keys = self._gather("k", k_buffer, group.slots, dtype).view(n * kv_heads, group.keys, -1)
        scores = torch.bmm(rows, keys.transpose(1, 2))
        if layer.logit_cap > 0:
            scores.div_(layer.logit_cap).tanh_().mul_(layer.logit_cap)
        if group.mask is not None:
            # Each query sees its own key at least, so that no row of the mask is -inf throughout.
            scores.view(n, kv_heads, group.queries, -1, group.keys).add_(group.mask)
        probs = scores.softmax(-1)
        if group.bags is not None and v_buffer.dtype == dtype == torch.float32:
            # The weighted sum straight from the cache, in half the time of a gather and a product.
            values = v_buffer.view(-1, layer.v_head_dim)
            bags = embedding_bag(
                group.bags, values, mode="sum", per_sample_weights=probs.view_as(group.bags)
            )
            return bags.view(n, -1, layer.v_head_dim).to(q.dtype)
        values = self._gather("v", v_buffer, group.slots, dtype).view(n * kv_heads, group.keys, -1)
        out = torch.bmm(probs, values).view(n, kv_heads, group.queries, -1, layer.v_head_dim)
        return out.transpose(1, 2).reshape(n * group.queries, -1, layer.v_head_dim).to(q.dtype)

    def _gather(self, name: str, buffer: torch.Tensor, slots: torch.Tensor, dtype) -> torch.Tensor:
        """The rows `slots` of `buffer` [slots, H_kv, D] seen as [slots * H_kv, D], as `dtype`."""
        rows = buffer.view(-1, buffer.shape[-1])
        size, key = slots.numel() * rows.shape[1], (name, buffer.dtype)
        scratch = self._scratch.get(key)
        if scratch is None or scratch.numel() < size:
            with torch.inference_mode(False):  # or it could never be written outside inference mode
                scratch = self._scratch[key] = torch.empty(size, dtype=buffer.dtype)
        taken = scratch[:size].view(slots.numel(), rows.shape[1])
        with torch.no_grad():
            torch.index_select(rows, 0, slots, out=taken)
        return taken.to(dtype)
