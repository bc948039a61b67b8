"""The ledger of every change made to SGLang: what, why, and when it can go.

One table drives registration (`plugin.py`), the start-up check and the documentation (`sglang-soft
hooks`), so that none of them can drift from the others.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable
from typing import NamedTuple


class HookRecord(NamedTuple):
    """One hook on one SGLang symbol."""

    target: str
    """Dotted path of the SGLang symbol."""
    kind: str
    """`before`, `after` or `around` (sglang.srt.plugins.hook_registry.HookType)."""
    hook: str
    """Our function, `module:name`; imported at its first call, so that registration imports no
    torch."""
    parameters: tuple[str, ...]
    """Leading parameter names of the target that the hook relies on; checked at start-up."""
    why: str
    until: str
    """What SGLang would have to offer for this hook to be deleted."""


class LazyHook:
    """A callable that imports its function when it is first called."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._function: Callable | None = None

    def __call__(self, *args, **kwargs):
        if self._function is None:
            module, name = self.path.split(":")
            self._function = getattr(importlib.import_module(module), name)
        return self._function(*args, **kwargs)


_SRT = "sglang.srt"
RECORDS: tuple[HookRecord, ...] = (
    HookRecord(
        f"{_SRT}.managers.tokenizer_manager.TokenizerManager.__init__",
        "after",
        "sglang_soft.hooks.tokenizer_manager:after_init",
        ("self", "server_args"),
        "resolve the think tokens once and refuse unsupported server modes at start-up",
        "a plugin hook for server start-up checks",
    ),
    HookRecord(
        f"{_SRT}.managers.tokenizer_manager.TokenizerManager._create_tokenized_object",
        "around",
        "sglang_soft.hooks.tokenizer_manager:create_tokenized_object",
        ("self", "obj", "input_text", "input_ids"),
        "parse and validate `soft_thinking` before the request reaches the scheduler (HTTP 400)",
        "a validator registry for custom_params",
    ),
    HookRecord(
        f"{_SRT}.managers.tokenizer_manager.TokenizerManager._send_one_request",
        "before",
        "sglang_soft.hooks.tokenizer_manager:before_send_one_request",
        ("self", "tokenized_obj"),
        "give each of n > 1 parallel samples its own noise",
        "the index of a parallel sample on the request",
    ),
    HookRecord(
        f"{_SRT}.managers.tokenizer_manager.TokenizerManager.update_request_meta_info",
        "around",
        "sglang_soft.hooks.tokenizer_manager:update_request_meta_info",
        ("self", "meta_info", "state", "customized_info", "index", "finish_reason"),
        "collect trace deltas and the summary of a soft request",
        "dict-valued customized_info",
    ),
    HookRecord(
        f"{_SRT}.managers.tokenizer_manager.TokenizerManager._stream_one_response",
        "around",
        "sglang_soft.hooks.tokenizer_manager:stream_one_response",
        ("self", "obj", "state"),
        "attach the trace once to what is yielded, so that a stream stays linear in length",
        "incremental customized_info in cumulative streams",
    ),
    HookRecord(
        f"{_SRT}.managers.schedule_batch.Req.__init__",
        "after",
        "sglang_soft.hooks.req:after_init",
        ("self", "rid", "origin_input_text", "origin_input_ids", "sampling_params"),
        "give a soft request its host-side state (history, phase)",
        "per-request plugin state on Req",
    ),
    HookRecord(
        f"{_SRT}.managers.schedule_batch.Req.refresh_fill_ids",
        "around",
        "sglang_soft.hooks.req:refresh_fill_ids",
        ("self",),
        "name the KV of concept tokens by concept keys in the radix tree and in re-prefill",
        "a per-token KV name separate from the token id",
    ),
    HookRecord(
        f"{_SRT}.managers.schedule_batch.ScheduleBatch.prepare_for_extend",
        "after",
        "sglang_soft.hooks.schedule_batch:after_prepare_for_extend",
        ("self",),
        "send readable token ids, not concept keys, to the device when a soft request is prefilled again",
        "a per-token KV name separate from the token id",
    ),
    HookRecord(
        f"{_SRT}.model_executor.forward_batch_info.ForwardBatch.init_new",
        "after",
        "sglang_soft.hooks.forward_batch:after_init_new",
        ("cls", "batch", "model_runner"),
        "initialise concept-pool rows in stream order and say which input embeddings are mixtures",
        "per-request plugin state on ForwardBatch",
    ),
    HookRecord(
        f"{_SRT}.model_executor.model_runner.ModelRunner.load_model",
        "after",
        "sglang_soft.hooks.model_runner:after_load_model",
        ("self",),
        "find the input embedding, and see the calls of model.forward that capture CUDA graphs",
        "a public accessor of the current ForwardBatch",
    ),
    HookRecord(
        f"{_SRT}.model_executor.model_runner.ModelRunner.forward",
        "around",
        "sglang_soft.hooks.model_runner:forward",
        ("self", "forward_batch"),
        "bring the embedding plan of this forward to the input embedding, and check that it was read",
        "plugin fields of ForwardBatch that survive its copies",
    ),
    HookRecord(
        f"{_SRT}.model_executor.runner.prefill_cuda_graph_runner.PrefillCudaGraphRunner.can_run_graph",
        "after",
        "sglang_soft.hooks.model_runner:prefill_can_run_graph",
        ("self", "forward_batch"),
        "keep a prefill that replays concept tokens out of graphs that were captured with plain ones",
        "input embeddings chosen on the device in prefill",
    ),
    HookRecord(
        f"{_SRT}.model_executor.model_runner.ModelRunner.init_cuda_graphs",
        "before",
        "sglang_soft.hooks.model_runner:before_init_cuda_graphs",
        ("self",),
        "allocate the concept pool before a captured graph reads it",
        "a plugin hook after the memory pools exist",
    ),
    HookRecord(
        f"{_SRT}.model_executor.model_runner.ModelRunner.sample",
        "around",
        "sglang_soft.hooks.model_runner:sample",
        ("self", "logits_output", "forward_batch"),
        "tell the sampler the rows of the batch and send the concept tokens to the host",
        "the ForwardBatch as an argument of Sampler.forward",
    ),
    HookRecord(
        f"{_SRT}.layers.sampler.create_sampler",
        "after",
        "sglang_soft.hooks.sampler:after_create_sampler",
        ("backend",),
        "use the sampler that makes concept tokens (on CPU --sampling-backend is overwritten with `pytorch`)",
        "--sampling-backend respected on every device",
    ),
    HookRecord(
        f"{_SRT}.layers.vocab_parallel_embedding.VocabParallelEmbedding._embed_local_shard",
        "around",
        "sglang_soft.hooks.embedding:embed_local_shard",
        ("self", "input_"),
        "mix the embeddings of a concept token, before the tensor-parallel all-reduce",
        "input embeddings chosen on the device in decode",
    ),
    HookRecord(
        f"{_SRT}.layers.vocab_parallel_embedding.VocabParallelEmbedding.forward",
        "after",
        "sglang_soft.hooks.embedding:after_forward",
        ("self", "input_"),
        "round a mixture once, after the tensor-parallel sum and not before it",
        "input embeddings chosen on the device in decode",
    ),
    HookRecord(
        f"{_SRT}.managers.scheduler.Scheduler.get_output_streamer_class",
        "after",
        "sglang_soft.hooks.output_streamer:output_streamer_class",
        ("self",),
        "send trace deltas and the summary along with the tokens (SGLang's own extension point)",
        "nothing: this is the official route",
    ),
)


def check_signatures(records: Iterable[HookRecord]) -> None:
    """Raise `SystemExit` naming the first target that is missing or has other leading
    parameters."""
    for record in records:
        try:
            target = pkgutil.resolve_name(record.target)
        except (ImportError, AttributeError) as error:
            raise SystemExit(_broken(record, f"it cannot be found ({error})")) from error
        found = tuple(inspect.signature(target).parameters)
        if inspect.ismethod(target):  # a bound classmethod does not show its first parameter
            found = ("cls", *found)
        if found[: len(record.parameters)] != record.parameters:
            raise SystemExit(
                _broken(record, f"its parameters are {found}, expected {record.parameters}")
            )


def check_applied(records: Iterable[HookRecord], patched: set[str]) -> None:
    """Raise `SystemExit` naming the first hook that SGLang did not apply."""
    for record in records:
        if record.target not in patched:
            raise SystemExit(_broken(record, "the hook was not applied"))


def _broken(record: HookRecord, problem: str) -> str:
    return (
        f"sglang-soft cannot hook {record.target}: {problem}. Without this hook ({record.why}) a server would "
        "silently decode plainly. Install a supported SGLang, or run without the plugin: SGLANG_PLUGINS=none."
    )
