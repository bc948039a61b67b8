"""Every change made to SGLang: what, why, and when it can go.

One table drives registration (`plugin.py`), the start-up check and the documentation
(`sglang-soft hooks`), so none of them can drift from the others.
"""

from typing import NamedTuple


class Hook(NamedTuple):
    """One change to one SGLang symbol."""

    target: str
    """Dotted path of the SGLang symbol."""
    kind: str
    """`before`, `after`, `around`: a hook by SGLang's HookRegistry. `override`: a method that a
    subclass of ours overrides. `instance`: a method that we replace on one object. `patch`: a
    function that we replace. `route`: an HTTP route that we add. `setting`: an environment variable
    of SGLang's that we set."""
    hook: str
    """Our function, `module:name`. Hooks are imported at their first call, so that registration
    imports no torch."""
    parameters: tuple[str, ...]
    """Leading parameter names of the target that we rely on; checked at start-up."""
    why: str
    until: str
    """What SGLang would have to offer for this change to be deleted."""
    missing_in: tuple[str, ...] = ()
    """Releases without the symbol, on which the change is left out."""

    @property
    def by_sglang(self) -> bool:
        """Applied by SGLang's HookRegistry."""
        return self.kind in ("before", "after", "around")


_SRT = "sglang.srt"
_TOKENIZER_MANAGER = f"{_SRT}.managers.tokenizer_manager.TokenizerManager"
_EMBEDDING = f"{_SRT}.layers.vocab_parallel_embedding.VocabParallelEmbedding"
_SAMPLER = f"{_SRT}.layers.sampler.Sampler"
_WEIGHTS = f"{_SRT}.managers.scheduler_components.weight_updater.SchedulerWeightUpdaterManager"
_DETOKENIZER = f"{_SRT}.managers.detokenizer_manager"
_STATE = "plugin state on this class"
_STOPS = "a part of the output in which stop conditions act"

HOOKS: tuple[Hook, ...] = (
    Hook(
        f"{_TOKENIZER_MANAGER}.__init__", "after",
        "sglang_soft.hooks.tokenizer_manager:after_init",
        ("self", "server_args"),
        "resolve the think tokens once and refuse unsupported server modes at start-up",
        "a plugin hook for server start-up checks",
    ),
    Hook(
        f"{_TOKENIZER_MANAGER}._create_tokenized_object", "around",
        "sglang_soft.hooks.tokenizer_manager:create_tokenized_object",
        ("self", "obj", "input_text", "input_ids"),
        "parse and validate `soft_thinking` before the request reaches the scheduler (HTTP 400)",
        "a validator registry for custom_params",
    ),
    Hook(
        f"{_SRT}.environ.envs.SGLANG_HTTP_SERVER_APP_PATH", "setting",
        "sglang_soft.plugin:register",
        (),
        "load the plugins in tokenizer workers (--tokenizer-worker-num above 1)",
        "workers that load plugins as SGLang's other processes do",
        missing_in=("0.5.22",),
    ),
    Hook(
        f"{_TOKENIZER_MANAGER}._send_one_request", "before",
        "sglang_soft.hooks.tokenizer_manager:before_send_one_request",
        ("self", "tokenized_obj"),
        "give each of n > 1 parallel samples its own noise",
        "the index of a parallel sample on the request",
    ),
    Hook(
        f"{_TOKENIZER_MANAGER}.update_request_meta_info", "around",
        "sglang_soft.hooks.tokenizer_manager:update_request_meta_info",
        ("self", "meta_info", "state", "customized_info", "index", "finish_reason"),
        "collect trace deltas and the summary of a soft request",
        "dict-valued customized_info",
    ),
    Hook(
        f"{_TOKENIZER_MANAGER}._stream_one_response", "around",
        "sglang_soft.hooks.tokenizer_manager:stream_one_response",
        ("self", "obj", "state"),
        "attach the trace once to what is yielded, so that a stream stays linear in length",
        "incremental customized_info in cumulative streams",
    ),
    Hook(
        f"{_SRT}.managers.schedule_batch.Req.__init__", "after",
        "sglang_soft.hooks.req:after_init",
        ("self", "rid", "origin_input_text", "origin_input_ids", "sampling_params"),
        "give a soft request its host-side state (trace, phase)",
        _STATE,
    ),
    Hook(
        f"{_SRT}.managers.schedule_batch.Req.refresh_fill_ids", "around",
        "sglang_soft.hooks.req:refresh_fill_ids",
        ("self",),
        "key the KV of concept tokens by their content, in the radix tree and in re-prefill",
        "a per-token cache key separate from the token id",
    ),
    Hook(
        f"{_SRT}.mem_cache.unified_radix_cache.UnifiedRadixCache.checkpoint_into_tree", "around",
        "sglang_soft.hooks.radix_cache:checkpoint_into_tree",
        ("self", "req"),
        "split the leaf of a prompt with concept tokens by their cache keys",
        "a per-token cache key separate from the token id",
    ),
    Hook(
        f"{_SRT}.managers.schedule_batch.Req.set_finish_with_abort", "around",
        "sglang_soft.hooks.req:set_finish_with_abort",
        ("self", "error_msg"),
        "a request that ends before it ran takes no thinking step",
        _STATE,
    ),
    Hook(
        f"{_SRT}.managers.schedule_batch.Req._stop_match_tail_len", "after",
        "sglang_soft.hooks.req:stop_match_tail_len",
        ("self", "new_accepted_len"),
        "match stop strings in the answer only",
        _STOPS,
    ),
    Hook(
        f"{_SRT}.managers.schedule_batch.Req.tail_str", "around",
        "sglang_soft.hooks.req:tail_str",
        ("self", "new_accepted_len"),
        "hold back no thought because it may begin a stop string",
        _STOPS,
    ),
    Hook(
        f"{_SRT}.managers.schedule_batch.Req._check_str_based_finish", "around",
        "sglang_soft.hooks.req:check_str_based_finish",
        ("self", "new_accepted_len"),
        "look for no stop string or regex in a thought",
        _STOPS,
    ),
    Hook(
        f"{_SRT}.managers.schedule_batch.Req._check_token_based_finish", "around",
        "sglang_soft.hooks.req:check_token_based_finish",
        ("self", "new_accepted_tokens"),
        "end no request at a stop token in a thought",
        _STOPS,
    ),
    Hook(
        f"{_DETOKENIZER}.DetokenizerManager.trim_matched_stop", "around",
        "sglang_soft.hooks.detokenizer_manager:trim_matched_stop",
        ("self", "output", "finished_reason", "no_stop_trim"),
        "cut the answer at its own stop string, not the thought",
        _STOPS,
    ),
    Hook(
        f"{_SRT}.managers.schedule_batch.Req.update_finish_state", "after",
        "sglang_soft.hooks.req:after_update_finish_state",
        ("self", "new_accepted_len"),
        "bound the answer by `max_answer_tokens`",
        "a plugin hook for finish conditions",
    ),
    Hook(
        f"{_SRT}.managers.scheduler.Scheduler.send_abort_output", "around",
        "sglang_soft.hooks.scheduler:send_abort_output",
        ("self", "abort_req", "req"),
        "a soft request that is aborted in a queue is answered with the fields of any other one",
        "aborts that go through the output stream",
        missing_in=("0.5.22",),
    ),
    Hook(
        f"{_SRT}.managers.schedule_policy.PrefillAdder.add_one_req", "around",
        "sglang_soft.hooks.prefill_adder:add_one_req",
        ("self", "req"),
        "compute the thought of several requests once, also where they arrive together",
        "a prefill that waits for a prefix which another request is computing",
    ),
    Hook(
        f"{_SRT}.managers.schedule_batch.ScheduleBatch.prepare_for_extend", "after",
        "sglang_soft.hooks.schedule_batch:after_prepare_for_extend",
        ("self",),
        "send output ids, not cache keys, to the device when a soft request is prefilled again",
        "a per-token cache key separate from the token id",
    ),
    Hook(
        f"{_SRT}.model_executor.forward_batch_info.ForwardBatch.init_new", "after",
        "sglang_soft.hooks.forward_batch:after_init_new",
        ("cls", "batch", "model_runner"),
        "initialise concept-pool rows in stream order and put the step inputs on the "
        "SamplingBatchInfo of this forward",
        _STATE,
    ),
    Hook(
        f"{_SRT}.model_executor.model_runner.ModelRunner.load_model", "after",
        "sglang_soft.hooks.model_runner:after_load_model",
        ("self",),
        "find the input embedding and mix in it",
        "input embeddings chosen on the device",
    ),
    Hook(
        f"{_SRT}.model_executor.model_runner.ModelRunner.init_cuda_graphs", "around",
        "sglang_soft.hooks.model_runner:init_cuda_graphs",
        ("self",),
        "compile all kernels; allocate the concept pool before a captured graph reads it; check "
        "that the graph mixes",
        "a plugin hook after the memory pools exist",
    ),
    Hook(
        f"{_SRT}.model_executor.runner.prefill_cuda_graph_runner.PrefillCudaGraphRunner"
        ".can_run_graph", "after",
        "sglang_soft.hooks.model_runner:prefill_can_run_graph",
        ("self", "forward_batch"),
        "keep a prefill that replays concept tokens out of graphs captured with plain ones",
        "input embeddings chosen on the device in prefill",
    ),
    Hook(
        f"{_SRT}.model_executor.runner.decode_cuda_graph_runner.DecodeCudaGraphRunner"
        ".can_run_graph", "after",
        "sglang_soft.hooks.model_runner:decode_can_run_graph",
        ("self", "forward_batch"),
        "run a decode step eagerly whose method reads hidden states that the graph lacks",
        "the same check in SGLang, which prefill graphs have",
    ),
    Hook(
        f"{_SRT}.layers.logits_processor.LogitsProcessor.forward", "after",
        "sglang_soft.hooks.logits_processor:after_forward",
        ("self", "input_ids", "hidden_states", "lm_head", "logits_metadata"),
        "give the logits of a trace's positions to `sglang-soft verify`",
        "logits of input positions in an answer",
    ),
    Hook(
        f"{_SRT}.layers.sampler.create_sampler", "after",
        "sglang_soft.hooks.sampler:after_create_sampler",
        ("backend",),
        "use the sampler that makes concept tokens (on CPU --sampling-backend is overwritten)",
        "--sampling-backend respected on every device",
    ),
    Hook(
        f"{_SRT}.managers.scheduler.Scheduler.get_output_streamer_class", "after",
        "sglang_soft.hooks.output_streamer:output_streamer_class",
        ("self",),
        "send trace deltas and the summary along with the tokens",
        "nothing: this is the official route",
    ),
    Hook(
        f"{_SRT}.managers.scheduler.Scheduler.on_idle", "after",
        "sglang_soft.hooks.scheduler:after_on_idle",
        ("self",),
        "check the concept pool while nothing runs (only with SGLANG_SOFT_CHECK=1, for tests)",
        "a plugin hook for idle checks",
    ),
    *(
        Hook(
            f"{_WEIGHTS}.{source}", "after",
            "sglang_soft.hooks.scheduler:after_weight_update",
            ("self", "recv_req"),
            "measure the embedding table again when its weights have changed",
            "a plugin hook for weight updates",
        )
        for source in (
            "update_weights_from_disk", "update_weights_from_distributed",
            "update_weights_from_tensor", "update_weights_from_ipc",
        )
    ),
    Hook(
        f"{_SRT}.utils.auth.decide_request_auth", "around",
        "sglang_soft.hooks.auth:decide_request_auth",
        ("method", "path", "authorization_header", "api_key"),
        "let a browser open the page /soft_thinking/view, which holds no secret, without the API "
        "key; what the page asks for needs it",
        "an auth level of endpoints that need no key",
    ),
    Hook(
        f"{_SAMPLER}.forward", "override",
        "sglang_soft.hooks.sampler:SoftSampler.forward",
        ("self", "logits_output", "sampling_info"),
        "update the concept pool with the emitted tokens and queue the step for the host",
        "a sampler stage after the tokens are known",
    ),
    Hook(
        f"{_SAMPLER}._preprocess_logits", "override",
        "sglang_soft.hooks.sampler:SoftSampler._preprocess_logits",
        ("self", "logits", "sampling_info"),
        "run the soft step on the final logits, before sampling overwrites them",
        "a sampler stage between logit processing and sampling",
    ),
    Hook(
        f"{_SAMPLER}._sample_from_probs", "override",
        "sglang_soft.hooks.sampler:SoftSampler._sample_from_probs",
        ("self", "probs", "sampling_info", "positions", "simple_sampling_case"),
        "draw nothing in a batch in which every row thinks (CPU)",
        "rows that are not sampled",
    ),
    Hook(
        f"{_SAMPLER}._sync_token_ids_across_tp", "override",
        "sglang_soft.hooks.sampler:SoftSampler._sync_token_ids_across_tp",
        ("self", "batch_next_token_ids", "sampling_info"),
        "put the tokens of thinking rows in place before ranks agree on them",
        "a sampler stage between sampling and synchronisation",
    ),
    Hook(
        f"{_SRT}.layers.logprob_processor.OutputLogprobProcessor.compute_logprobs", "override",
        "sglang_soft.hooks.sampler:LogprobsOfEmitted.compute_logprobs",
        ("self", "logprobs", "top_logprobs_nums", "token_ids_logprobs", "batch_next_token_ids"),
        "put the tokens of thinking rows in place before their logprobs are looked up",
        "a sampler stage between sampling and logprobs",
    ),
    Hook(
        f"{_EMBEDDING}._embed_local_shard", "instance",
        "sglang_soft.engine.embedding:mix",
        ("self", "input_"),
        "mix the embeddings of concept tokens, before the tensor-parallel all-reduce",
        "input embeddings chosen on the device",
    ),
    Hook(
        f"{_EMBEDDING}.forward", "instance",
        "sglang_soft.engine.embedding:round_once",
        ("self", "input_"),
        "round a mixture once, after the tensor-parallel sum and not before it",
        "input embeddings chosen on the device",
    ),
    Hook(
        f"{_SRT}.model_executor.runner.eager_runner.EagerRunner", "instance",
        "sglang_soft.engine.embedding:SoftModel",
        (),
        "`model.forward` of the served model: bring the step inputs to the embedding, also while "
        "a CUDA graph is captured",
        "a public accessor of the current ForwardBatch",
    ),
    Hook(
        f"{_SRT}.plugins.hook_registry.HookRegistry.apply_hooks", "patch",
        "sglang_soft.plugin:register",
        (),
        "check signatures before, and that every hook was applied after: SGLang only logs failures",
        "plugins whose failure stops the server",
    ),
    Hook(
        f"{_SRT}.entrypoints.http_server", "route",
        "sglang_soft.server.routes:add_to_http",
        (),
        "GET /soft_thinking: what this server offers; POST /soft_thinking/logits, for "
        "`sglang-soft verify`; /soft_thinking/traces: what it keeps; GET /soft_thinking/view, the "
        "page, and POST /soft_thinking/texts, for it and for `sglang-soft ask`",
        "routes of plugins",
    ),
    Hook(
        f"{_SRT}.entrypoints.http_server.app.router.middleware_stack", "patch",
        "sglang_soft.server.http:install",
        (),
        "refuse the key where no endpoint reads it; carry custom_params to the endpoints that drop "
        "them; put the summary into every answer",
        "custom_params and meta_info on every endpoint",
    ),
)  # fmt: skip


def hooks_of(release: str, detokenizer: bool = False) -> tuple[Hook, ...]:
    """The changes that are made to this release of SGLang. detokenizer: only those to the
    detokenizer, which runs none of the other changed classes; importing them would slow its
    start."""
    made = [hook for hook in HOOKS if release not in hook.missing_in]
    return tuple(h for h in made if not detokenizer or h.target.startswith(_DETOKENIZER))


FIELDS: dict[str, str] = {
    "Req.soft": "SoftRequest, or None",
    "SamplingBatchInfo.soft": "StepInputs of one forward",
    "ModelRunner.soft": "SoftModel",
    "TokenizerManager.soft": "FrontEnd",
    "ReqState.soft": "ClientTrace",
}
"""Attributes that the plugin sets on SGLang's objects."""
