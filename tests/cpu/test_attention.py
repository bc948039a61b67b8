"""`soft_cpu` against SGLang's `torch_native` on SGLang's own pools. No engine, no model.

The pools are hostile: every slot that no request of the batch owns holds NaN, and so does the slot
of every unused entry of `req_to_token`. An output that read one of them is NaN.
"""

from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from sglang_soft_cpu import attention, attention_metadata
from sglang_soft_cpu.attention_metadata import Shape, Span

pytestmark = pytest.mark.slow

SLOTS = 4096
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
LENS = [1, 7, 200, 64, 33, 150, 2]  # of the cached prefix and the new tokens together


@pytest.fixture(autouse=True, scope="module")
def import_sglang():
    """By the first test: it takes 20 s, which a run without these tests should not pay."""
    global TorchNativeAttnBackend, AttentionType, RadixAttention, MHATokenToKVPool, ReqToTokenPool
    global SWAKVPool, ForwardMode
    from sglang.srt.layers.attention.torch_native_backend import TorchNativeAttnBackend
    from sglang.srt.layers.radix_attention import AttentionType, RadixAttention
    from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool, ReqToTokenPool
    from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool
    from sglang.srt.model_executor.forward_batch_info import ForwardMode


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Thousands of tiny operations: with more threads the test waits for barriers."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def heads(h, h_kv, d, d_v=None, **kwargs):
    return RadixAttention(h, d, d**-0.5, h_kv, layer_id=0, v_head_dim=d_v or d, **kwargs)


class World:
    """One layer, its pools holding the KV of the cached tokens, and one batch of requests."""

    def __init__(self, layer, prefix_lens, q_lens, dtype=torch.float32, seed=0, slide_by=None):
        g = torch.Generator().manual_seed(seed)
        self.layer, self.dtype = layer, dtype
        kwargs = dict(
            page_size=1, dtype=dtype, head_num=layer.tp_k_head_num, head_dim=layer.qk_head_dim,
            device="cpu", enable_memory_saver=False, v_head_dim=layer.v_head_dim,
        )  # fmt: skip
        if slide_by is None:
            pool = MHATokenToKVPool(size=SLOTS, layer_num=1, **kwargs)
        else:
            kwargs |= dict(swa_attention_layer_ids=[0], full_attention_layer_ids=[1])
            pool = SWAKVPool(size=SLOTS, size_swa=SLOTS, **kwargs)
            pool.register_mapping((torch.arange(SLOTS + 1) + slide_by) % (SLOTS + 1))
        rows = ReqToTokenPool(
            size=len(q_lens) + 3, max_context_len=512, device="cpu", enable_memory_saver=False
        )
        self.runner = SimpleNamespace(
            device="cpu", req_to_token_pool=rows, token_to_kv_pool=pool, use_mla_backend=False
        )

        free = torch.randperm(SLOTS - 1, generator=g) + 2  # slot 1 stays nobody's
        rows.req_to_token.fill_(1)
        for buffer in pool.get_kv_buffer(0):
            buffer.fill_(float("nan"))
        row_ids = torch.randperm(len(q_lens), generator=g) + 1
        out_cache_loc, start = [], 0
        for row, prefix, q_len in zip(row_ids.tolist(), prefix_lens, q_lens, strict=True):
            slots = free[start : start + prefix + q_len]
            start += prefix + q_len
            rows.req_to_token[row, : prefix + q_len] = slots.int()
            cached = (
                slots[:prefix]
                if slide_by is None
                else pool.translate_loc_from_full_to_swa(slots[:prefix])
            )
            for buffer in pool.get_kv_buffer(0):
                buffer[cached] = torch.randn(prefix, *buffer.shape[1:], generator=g).to(dtype)
            out_cache_loc.append(slots[prefix:])
        tokens = sum(q_lens)
        self.batch = SimpleNamespace(
            forward_mode=ForwardMode.EXTEND, req_pool_indices=row_ids, encoder_lens=None,
            seq_lens=torch.tensor(prefix_lens) + torch.tensor(q_lens),
            out_cache_loc=torch.cat(out_cache_loc),
            extend_prefix_lens=torch.tensor(prefix_lens), extend_seq_lens=torch.tensor(q_lens),
        )  # fmt: skip
        self.q, self.k, self.v = (
            torch.randn(tokens, n, d, generator=g).to(dtype)
            for n, d in (
                (layer.tp_q_head_num, layer.qk_head_dim),
                (layer.tp_k_head_num, layer.qk_head_dim),
                (layer.tp_k_head_num, layer.v_head_dim),
            )
        )

    def run(self, backend, **kwargs):
        backend.init_forward_metadata(self.batch)
        step = (
            backend.forward_decode
            if self.batch.forward_mode.is_decode()
            else backend.forward_extend
        )
        return step(
            self.q.flatten(1), self.k.clone(), self.v.clone(), self.layer, self.batch, **kwargs
        )

    def stock(self):
        return self.run(TorchNativeAttnBackend(self.runner))

    def ours(self, **kwargs):
        self.backend = attention.create(self.runner)
        return self.run(self.backend, **kwargs)

    def naive(self):
        """float64, one query at a time: the definition, with the soft cap and the pool's own slot
        numbers."""
        layer, batch, pool = self.layer, self.batch, self.runner.token_to_kv_pool
        k_buffer, v_buffer = (b.double() for b in pool.get_kv_buffer(0))
        group, out = layer.tp_q_head_num // layer.tp_k_head_num, []
        q = iter(self.q.double())
        for row, length, q_len in zip(
            batch.req_pool_indices, batch.seq_lens, batch.extend_seq_lens, strict=True
        ):
            for position in range(length - q_len, length):
                first = (
                    max(0, position - layer.sliding_window_size)
                    if layer.sliding_window_size > -1
                    else 0
                )
                slots = self.runner.req_to_token_pool.req_to_token[row, first : position + 1].long()
                if isinstance(pool, SWAKVPool):
                    slots = pool.translate_loc_from_full_to_swa(slots)
                k, v = (b[slots].repeat_interleave(group, 1) for b in (k_buffer, v_buffer))
                scores = torch.einsum("hd,lhd->hl", next(q), k) * layer.scaling
                if layer.logit_cap > 0:
                    scores = layer.logit_cap * torch.tanh(scores / layer.logit_cap)
                out.append(torch.einsum("hl,lhd->hd", scores.softmax(-1), v).flatten())
        return torch.stack(out)


def decode_world(layer, lens=LENS, **kwargs):
    world = World(layer, [n - 1 for n in lens], [1] * len(lens), **kwargs)
    world.batch.forward_mode = ForwardMode.DECODE
    return world


def prefill_world(layer, **kwargs):
    return World(layer, [0] * len(LENS), LENS, **kwargs)


def cached_world(layer, **kwargs):
    return World(layer, [n // 2 for n in LENS], [n - n // 2 for n in LENS], **kwargs)


def mixed_world(layer, **kwargs):
    """Mixed chunked prefill: a later chunk of a prompt, a first chunk, and requests that decode."""
    world = World(layer, [100, 0, 6, 199, 63], [90, 40, 1, 1, 1], **kwargs)
    world.batch.forward_mode = ForwardMode.MIXED
    return world


WORLDS = [decode_world, prefill_world, cached_world, mixed_world]


def close(actual, expected, dtype=torch.float32):
    assert actual.dtype == dtype
    torch.testing.assert_close(actual.double(), expected.double(), rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("window", [-1, 31])
@pytest.mark.parametrize(
    "dims", [(2, 1, 64), (4, 4, 16), (6, 2, 24, 40)], ids=["2x1", "4x4", "6x2_d24_dv40"]
)
def test_equals_torch_native(world, dtype, window, dims):
    w = world(heads(*dims, sliding_window_size=window), dtype=dtype)
    expected = w.stock()
    close(w.ours(), expected, dtype)
    assert w.backend.forward_metadata is not None, "served by the fallback"


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("window", [-1, 31])
def test_soft_cap(world, window):
    w = world(heads(4, 2, 32, logit_cap=0.5, sliding_window_size=window))
    out = w.ours()
    close(out, w.naive())
    assert (w.stock() - out).abs().max() > 1e-2, (
        "torch_native caps now: drop the note in attention.py"
    )


@pytest.mark.parametrize("world", [prefill_world, decode_world])
def test_encoder_only(world):
    w = world(heads(2, 1, 16, attn_type=AttentionType.ENCODER_ONLY, sliding_window_size=31))
    close(w.ours(), w.stock())


@pytest.mark.parametrize("world", WORLDS)
def test_hybrid_sliding_window_pool(world):
    w = world(heads(2, 1, 16, sliding_window_size=31), slide_by=1000)
    close(w.ours(), w.naive())


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("window", [-1, 31])
def test_many_groups(world, window, monkeypatch):
    """Small caps stand in for long prompts and large batches."""
    monkeypatch.setattr(attention_metadata, "QUERIES_PER_TILE", 16)
    monkeypatch.setattr(attention_metadata, "MAX_SCORES", 4000)
    monkeypatch.setattr(attention_metadata, "MAX_GATHERED", 10000)
    monkeypatch.setattr(attention_metadata, "SMALL_KEYS", 8)
    w = world(heads(4, 2, 16, sliding_window_size=window))
    close(w.ours(), w.stock())
    (groups,) = w.backend.forward_metadata.groups.values()
    assert len(groups) > 1


@pytest.mark.parametrize("world", WORLDS)
def test_requests_are_independent(world):
    """A request alone, in a batch, and in a batch whose other requests hold NaN."""
    w = world(heads(4, 2, 32))
    together = w.ours()
    ends = w.batch.extend_seq_lens.cumsum(0).tolist()
    for i, (start, end) in enumerate(pairwise([0, *ends])):
        one = slice(start, end)
        alone = SimpleNamespace(**vars(w.batch))
        alone.out_cache_loc = w.batch.out_cache_loc[one]
        for key in ("req_pool_indices", "seq_lens", "extend_prefix_lens", "extend_seq_lens"):
            setattr(alone, key, getattr(w.batch, key)[i : i + 1])
        single = World.__new__(World)
        single.__dict__.update(vars(w), batch=alone, q=w.q[one], k=w.k[one], v=w.v[one])
        torch.testing.assert_close(single.ours(), together[one], rtol=0, atol=1e-6)
    for tensor in (w.q, w.k, w.v):
        tensor[ends[0] :] = float("nan")
    poisoned = w.ours()
    torch.testing.assert_close(poisoned[: ends[0]], together[: ends[0]], rtol=0, atol=1e-6)
    assert poisoned[ends[0] :].isnan().all(), "the NaN was not there"


def test_padded_rows():
    w = decode_world(heads(2, 1, 16))
    expected = w.ours()
    pad = torch.zeros(2, dtype=torch.int64)
    w.batch.req_pool_indices = torch.cat(
        [w.batch.req_pool_indices, pad]
    )  # row 0, as graph padding has it
    w.batch.seq_lens = torch.cat([w.batch.seq_lens, pad])
    w.batch.out_cache_loc = torch.cat([w.batch.out_cache_loc, pad])
    w.q, w.k, w.v = (
        torch.cat([t, t.new_full((2, *t.shape[1:]), float("nan"))]) for t in (w.q, w.k, w.v)
    )
    out = w.ours()
    close(out[:-2], expected)
    assert (out[-2:] == 0).all()


def test_empty_batch():
    w = decode_world(heads(2, 1, 16), lens=[3])
    w.batch.seq_lens = torch.zeros_like(w.batch.seq_lens)
    assert (w.ours() == 0).all()


@pytest.mark.parametrize("world", [decode_world, cached_world])
@pytest.mark.parametrize("save", [True, False])
def test_writes_the_cache_as_torch_native(world, save):
    ours, stock = world(heads(4, 2, 16, 24)), world(heads(4, 2, 16, 24))
    before = [b.clone() for b in ours.runner.token_to_kv_pool.get_kv_buffer(0)]
    ours.ours(save_kv_cache=save)
    stock.run(TorchNativeAttnBackend(stock.runner), save_kv_cache=save)
    for a, b, old in zip(
        ours.runner.token_to_kv_pool.get_kv_buffer(0),
        stock.runner.token_to_kv_pool.get_kv_buffer(0),
        before,
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
        changed = ~torch.isclose(a, old, equal_nan=True).flatten(1).all(1)
        written = ours.batch.out_cache_loc.sort().values.tolist() if save else []
        assert changed.nonzero().flatten().tolist() == written


def test_plan_is_shared_by_layers_and_renewed_by_a_forward():
    w = decode_world(heads(2, 1, 16))
    w.ours()
    plan = w.backend.forward_metadata
    again = w.backend.forward_decode(w.q, w.k, w.v, w.layer, w.batch)
    assert w.backend.forward_metadata is plan and len(plan.groups) == 1
    w.batch.seq_lens = (
        w.batch.seq_lens - (w.batch.seq_lens > 1).long()
    )  # in place in the same batch object
    w.backend.init_forward_metadata(w.batch)
    assert (w.backend.forward_decode(w.q, w.k, w.v, w.layer, w.batch) - again).abs().max() > 1e-3
    assert w.backend.forward_metadata is not plan


def test_scratch_outlives_inference_mode():
    w = decode_world(heads(2, 1, 16))
    expected = w.stock()
    backend = attention.create(w.runner)
    with torch.inference_mode():
        close(w.run(backend), expected)
    close(w.run(backend), expected)


@pytest.mark.parametrize("change", ["cross", "mode", "bidirectional", "argument", "layout"])
def test_falls_back_and_says_so_once(change, monkeypatch, caplog):
    w = cached_world(heads(2, 1, 16))
    kwargs = {}
    if change == "cross":
        w.layer.is_cross_attention = True
    elif change == "mode":
        w.batch.forward_mode = ForwardMode.TARGET_VERIFY
    elif change == "bidirectional":
        w.layer.attn_type = AttentionType.DECODER_BIDIRECTIONAL
    elif change == "argument":
        kwargs = {"sinks": torch.zeros(2)}
    else:
        pool = w.runner.token_to_kv_pool
        monkeypatch.setattr(pool, "get_kv_buffer", lambda _: (torch.zeros(1, 1, 1, 1),) * 2)
    calls = []
    monkeypatch.setattr(
        TorchNativeAttnBackend, "forward_extend", lambda self, *a, **k: calls.append(k)
    )
    backend = attention.create(w.runner)
    for _ in range(2):
        w.run(backend, **kwargs)
    assert calls == [kwargs] * 2
    assert sum("soft_cpu does not cover" in r.message for r in caplog.records) == 1


def test_register_and_create():
    from sglang.srt.arg_groups.choices import ATTENTION_BACKEND_CHOICES
    from sglang.srt.layers.attention.attention_registry import ATTENTION_BACKENDS

    attention.register()
    attention.register()
    assert ATTENTION_BACKEND_CHOICES.count("soft_cpu") == 1
    w = decode_world(heads(2, 1, 16))
    backend = ATTENTION_BACKENDS["soft_cpu"](w.runner)
    assert isinstance(backend, attention.SoftCpuAttention) and not backend.support_triton()
    w.runner.use_mla_backend = True
    assert type(attention.create(w.runner)) is TorchNativeAttnBackend
    w.runner.device = "cuda"
    with pytest.raises(ValueError, match="device='cuda'"):
        attention.create(w.runner)


@pytest.mark.parametrize("window", [None, 100])
@pytest.mark.parametrize(
    ("kv_heads", "kv_width"), [(8, 256), (1, 32)], ids=["keys_large", "scores_large"]
)
def test_tiles_partition_the_queries_within_the_caps(window, kv_heads, kv_width):
    shape = Shape(32, kv_heads, kv_width, causal=True, window=window, sliding_pool=False)
    lens = [(0, 5000), (30000, 700), (100000, 1), (17, 1), (0, 1), (900, 33)]
    spans, q_start = [], 0
    for row, (position, q_len) in enumerate(lens):
        spans.append(Span(row, q_start, q_len, position))
        q_start += q_len
    uncut = [attention_metadata.cut(span, shape) for span in spans]
    groups = attention_metadata.pack([tile for tiles in uncut for tile in tiles], shape)
    tiles = [tile for group in groups for tile in group]
    queries = sorted((t.row, t.position + i) for t in tiles for i in range(t.q_len))
    assert queries == [(s.row, s.position + i) for s in spans for i in range(s.q_len)]
    for tile in tiles:
        assert tile.k_start + tile.k_len == tile.position + tile.q_len
    for group in groups:
        keys, most = max(t.k_len for t in group), max(t.q_len for t in group)
        assert len(group) * shape.heads * most * keys <= attention_metadata.MAX_SCORES
        assert (
            len(group) == 1
            or len(group) * keys * kv_heads * kv_width <= attention_metadata.MAX_GATHERED
        )
