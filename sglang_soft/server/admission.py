"""What a soft request meets in the front end: defaults, limits, and the way to the scheduler."""

import itertools
import logging
import os
import secrets
from collections.abc import Iterable
from functools import cached_property
from importlib.metadata import version
from typing import Any

import msgspec
from sglang.srt.arg_groups.model_override_base import resolving_view
from sglang.srt.managers.io_struct import GenerateReqInput
from sglang.srt.sampling.sampling_params import TOP_K_ALL
from sglang_soft_kernels.layout import EOS_COLUMNS

from sglang_soft import resolve, stopping
from sglang_soft.params import KEY, Given, RequestParams, Sampling
from sglang_soft.server import given
from sglang_soft.server.answer import front_end_header
from sglang_soft.server.closing import closing_ids
from sglang_soft.server.composing import compose
from sglang_soft.server.endpoints import looks_like_key
from sglang_soft.server.http import current_call
from sglang_soft.server.kept import PREFIX, KeptTraces
from sglang_soft.server.limits import unsupported_request, unsupported_server
from sglang_soft.server.routes import add_to_http
from sglang_soft.server.settings import MAX_K_LIMIT, from_env
from sglang_soft.server.think_tokens import PromptEnd, parsed_think_end, resolve_think_tokens
from sglang_soft.trace import Trace

logger = logging.getLogger(__name__)

MAX_SEED = 2**53 - 1
_SGLANG_DEFAULTS = {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "min_p": 0.0}
_SAMPLING = frozenset(_SGLANG_DEFAULTS)
_GRAMMARS = ("json_schema", "regex", "ebnf", "structural_tag")


class ParallelSamples:
    """The encoded parameters of each of n > 1 samples of one request, in order."""

    def __init__(self, request: RequestParams) -> None:
        self.request, self._index = request, itertools.count()
        self.filled = False
        """The request that fills the prefix cache was sent, which is the first one."""

    def encode(self, sample: int) -> str:
        return msgspec.structs.replace(self.request, sample=sample).encode()

    def prefill(self) -> str | bool:
        """Of the request that generates nothing and fills the prefix cache for them: a discrete
        one, unless a trace is fed."""
        if self.request.given is None:
            return False
        return msgspec.structs.replace(
            self.request, max_new_tokens=0, only_answers=True, keep=False
        ).encode()

    def __next__(self) -> tuple[int, str]:
        """The index of the next sample, and its parameters."""
        sample = next(self._index)
        return sample, self.encode(sample)


class FrontEnd:
    """Validates the soft requests of one `TokenizerManager`."""

    def __init__(self, tokenizer_manager, server_args) -> None:
        """Raises SystemExit: a setting is malformed, or Soft Thinking was asked for (our
        launch_server, or a server-wide default) and cannot work. A server that merely has the
        plugin installed serves discrete requests all the same and refuses soft ones."""
        try:
            # Not `get_settings`: an Engine may be the second one of its process.
            self.settings = from_env(os.environ)
        except ValueError as error:
            raise SystemExit(f"sglang-soft: {error}") from None
        self.manager = tokenizer_manager
        self._model = tokenizer_manager.model_config
        self.think_tokens = self._prompt_end = None
        self.kept = KeptTraces(self.settings.keep_mb * 2**20, self.settings.keep_seconds)
        self._grammar_waits = False
        """SGLang's grammars begin after the think-end token that ends a thought."""
        # The values in effect: those of `server_args` are what the operator passed, such as "auto".
        self._config = config = resolving_view(server_args)
        self.unsupported = unsupported_server(config)
        """Reason this server does not support Soft Thinking, or None."""
        if self.unsupported is None:
            parser, tokenizer = config.reasoning_parser, tokenizer_manager.tokenizer
            try:
                self.think_tokens = resolve_think_tokens(
                    tokenizer, parser, self.settings, self._model.vocab_size
                )
                self._prompt_end = PromptEnd(tokenizer, self.think_tokens)
                self._grammar_waits = self.think_tokens.end == parsed_think_end(tokenizer, parser)
            except ValueError as error:
                self.unsupported = str(error)
        if self.unsupported and self.settings.enabled:
            raise SystemExit(f"sglang-soft: {self.unsupported}")
        add_to_http(self)
        state = self.unsupported or f"ready, think tokens {self.think_tokens}"
        logger.info("Soft Thinking: %s", state)

    @cached_property
    def header(self) -> dict[str, Any]:
        """What the front end adds to every trace."""
        return front_end_header(self.manager.tokenizer, self.think_tokens, version("sglang"))

    def admit(self, obj, tokenized) -> RequestParams | None:
        """Replace `custom_params["soft_thinking"]` of a tokenized request by its validated, encoded
        form, and its prompt by that of a trace. Returns what a soft request asks for. Raises
        ValueError, which becomes HTTP 400."""
        if not isinstance(obj, GenerateReqInput):
            return None
        call = current_call.get()
        try:
            request = self._admit(obj, tokenized, {} if call is None else call.custom_params)
            if tokenized.input_ids is not None and not len(tokenized.input_ids):
                # SGLang's scheduler ends with an IndexError where a batch has such a request.
                raise ValueError("the prompt has no tokens.")
            return request
        except ValueError as error:
            if call is not None:
                call.refusal = error
            raise

    def _admit(self, obj, tokenized, dropped: dict[str, Any]) -> RequestParams | None:
        """dropped: `custom_params` that SGLang's endpoint did not pass on."""
        sampling = tokenized.sampling_params
        custom = dropped | (sampling.custom_params or {})
        raw = custom.pop(KEY, None)
        _refuse_misspelled(custom)
        if isinstance(raw, RequestParams):  # of our own endpoint: JSON cannot say so
            self._refuse_unsupported(obj, sampling)
            sampling.custom_params = custom | {KEY: raw.encode()}
            return raw
        raw, wanted = given.split(raw)
        trace, default = None, self.settings.default
        self._refuse_keep(wanted)
        if wanted.trace is not None:
            trace = self._trace(wanted, tokenized)
            default = given.defaults(trace, self.settings.max_k)
        # As the request gave them: SGLang's own form of a greedy request has lost its top_k.
        asked = (self.manager.preferred_sampling_params or {}) | (obj.sampling_params or {})
        own = Sampling(
            **_SGLANG_DEFAULTS
            | {k: v for k, v in asked.items() if k in _SAMPLING and v is not None}
        )
        resolved = resolve.resolve(raw, request=own, default=default, max_k=self.settings.max_k)
        request = None
        if resolved is not None:
            self._refuse_unsupported(obj, sampling)
            request = self._request(resolved, tokenized, obj, trace, wanted)
            self._free_thought_of_grammar(request, tokenized)
            custom[KEY] = ParallelSamples(request) if sampling.n > 1 else request.encode()
            answer = resolved.answer
            sampling.temperature, sampling.top_p = answer.temperature, answer.top_p
            sampling.min_p = answer.min_p
            sampling.top_k = self._top_k(answer.top_k)
        elif self.settings.default is not None:
            custom[KEY] = False  # the scheduler sees that the default was considered
        sampling.custom_params = custom or None
        self._refuse_min_p(sampling)
        return request

    def _trace(self, wanted: given.Wanted, tokenized) -> Trace:
        """What the request goes on from."""
        tenant = tokenized.extra_key, tokenized.cache_salt
        # A step may take no more than its slots, entropy and extra columns, and its offset.
        model, slots = self._model, MAX_K_LIMIT
        context = self.manager.context_len
        most = (context + 64) * (16 * slots + 1024) + self.settings.max_vector_mb * 2**20
        trace = given.read(wanted, self.kept, tenant, most, context)
        given.check(trace, model, self.settings.max_k)
        return trace

    def _refuse_keep(self, wanted: given.Wanted) -> None:
        workers, trace = self._config.tokenizer_worker_num, wanted.trace
        handle = isinstance(trace, str) and trace.startswith(PREFIX)
        if workers > 1 and (wanted.keep or handle):
            raise ValueError(
                f"{KEY}.keep and handles do not work with --tokenizer-worker-num={workers}: each "
                "worker has a memory of its own. Ask for the trace (return_concepts) and send it "
                "as an object."
            )

    def _request(
        self, resolved: resolve.Resolved, tokenized, obj, trace: Trace | None, wanted: given.Wanted
    ) -> RequestParams:
        sampling, tokens = tokenized.sampling_params, self.think_tokens
        assert tokens is not None and self._prompt_end is not None
        params, start = resolved.params, resolved.params.thinking_start
        think_start = () if start == "never" else tokens.start
        closing = closing_ids(self.manager.tokenizer, params, tokens.end)
        if (rule := stopping.of(params.stop)) is not None and params.stop is not None:
            rule.check(params.stop, self.manager.tokenizer)
        placed = None
        if trace is not None:
            placed = given.place(trace, wanted.at, think_start, tokens.end, closing)
            placed = compose(self.manager, obj, tokenized, trace, placed)
            state = given.carried(trace, params)
            placed = placed._replace(given=placed.given._replace(method_state=state))
        self._refuse_truncation(tokenized, trace)
        max_new_tokens = sampling.max_new_tokens
        if max_new_tokens is None:
            max_new_tokens = max(1, self.manager.context_len - len(tokenized.input_ids))
        seed = sampling.sampling_seed
        if seed is not None and abs(seed) > MAX_SEED:
            raise ValueError(
                f"sampling_seed of a {KEY} request is out of range (allowed: [-(2^53 - 1), "
                f"2^53 - 1], which every JSON client can hold); got {seed}."
            )
        goes_on = placed is not None and not placed.ends
        if seed is None and placed is not None and goes_on and not placed.given.has_ended:
            seed = trace.seed if trace else None
        if seed is None:
            # 53 bits: a seed is sent to the client, and JavaScript's numbers hold no more.
            seed = secrets.randbits(53)
        thinks = placed is not None and placed.thinks
        if not goes_on:
            thinks = start == "now" or (
                start == "prompt" and self._prompt_end.is_open(tokenized.input_ids)
            )
        request = RequestParams(
            params=resolved.method.complete(params, self.manager.tokenizer, self._model.vocab_size),
            thinking=resolved.thinking,
            seed=seed,
            # Of the whole, so that a method that looks at it goes on as it began.
            max_new_tokens=max_new_tokens + (placed.outputs if placed else 0),
            think_start=think_start,
            think_end=tokens.end,
            closing=closing,
            starts_thinking=thinks,
            eos_ids=self._eos_ids(resolved, sampling),
            given=placed.given if placed else None,
            only_answers=placed is not None and not goes_on and start == "never",
            keep=wanted.keep,
        )
        return msgspec.structs.replace(request, host_bytes=self._host_bytes(resolved, request))

    def _refuse_truncation(self, tokenized, trace: Trace | None) -> None:
        """The scheduler would cut a long prompt (--allow-auto-truncate), and what is thought stands
        at positions that follow it."""
        most, count = getattr(self.manager, "max_req_input_len", None), len(tokenized.input_ids)
        cuts = trace is not None or self.manager.allow_auto_truncate
        if cuts and most is not None and count >= most:
            raise ValueError(
                f"the prompt of a {KEY} request must be shorter than {most} tokens on this server; "
                f"got {count}" + (" with the trace." if trace else ".")
            )

    def _eos_ids(self, resolved: resolve.Resolved, sampling) -> tuple[int, ...]:
        """Those that SGLang's `Req` stops at, as far as they become think-end. Raises ValueError:
        the model has more of them than a row has columns."""
        if resolved.params.thinking_eos != "think_end" or sampling.ignore_eos:
            return ()
        tokenizer = self.manager.tokenizer
        ids = set(self._model.hf_eos_token_id or ())
        if tokenizer is not None:
            more = getattr(tokenizer, "additional_stop_token_ids", None) or ()
            ids |= {tokenizer.eos_token_id, *more}
        ids.discard(None)
        if len(ids) > EOS_COLUMNS:
            raise ValueError(
                f"{KEY}.thinking_eos=think_end supports {EOS_COLUMNS} end-of-sequence tokens, and "
                f"this model has {len(ids)}; send thinking_eos=stop, or ignore_eos."
            )
        return tuple(sorted(ids))

    def _free_thought_of_grammar(self, request: RequestParams, tokenized) -> None:
        """A grammar binds the answer. /v1/chat/completions has SGLang do so; elsewhere we do."""
        sampling = tokenized.sampling_params
        grammar = next((name for name in _GRAMMARS if getattr(sampling, name, None)), None)
        if request.given is not None and not request.starts_thinking:
            tokenized.require_reasoning = False  # its output begins in the answer
            return
        if grammar is None or not request.starts_thinking or tokenized.require_reasoning:
            return
        if not self._grammar_waits:
            raise ValueError(
                f"{grammar} would bind the thought of a {KEY} request, because this server's "
                "--reasoning-parser does not name the think-end token that ends it; start the "
                f"server with one that does, or send {KEY}=false."
            )
        tokenized.require_reasoning = True

    def _refuse_unsupported(self, obj, sampling) -> None:
        if self.unsupported:
            raise ValueError(f"{KEY}: {self.unsupported}.")
        reason = unsupported_request(obj, sampling, self._config)
        if reason:
            raise ValueError(
                f"{KEY} cannot be used together with {reason}; leave that out, or send {KEY}=false."
            )

    def _top_k(self, top_k: int) -> int:
        """SGLang's top_k of an answer. SGLang's seeded sampling draws in one way if no request of a
        batch filters, else in another; with a filter that keeps all tokens an answer is always
        drawn in the other way."""
        if top_k != -1:
            return top_k
        seeded = self._config.enable_deterministic_inference
        return self._model.vocab_size if seeded else TOP_K_ALL

    def _refuse_min_p(self, sampling) -> None:
        """SGLang's seeded sampling asserts that no request of the batch has a min_p: one that does
        would end the engine. (`top_k_top_p_min_p_sampling_from_probs_torch`)"""
        if self._config.enable_deterministic_inference and sampling.min_p > 0:
            raise ValueError(
                "min_p must be 0 with --enable-deterministic-inference, whose seeded sampling has "
                f"none; got {sampling.min_p}. A thought may have its own: {KEY}.min_p."
            )

    def _host_bytes(self, resolved: resolve.Resolved, request: RequestParams) -> int:
        """Host memory that embedding offsets may take. Raises ValueError: more than one request
        may, or the method needs another think-start than this server's."""
        method, start = resolved.method, resolved.params.thinking_start
        assert self.think_tokens is not None
        needs = [f"method={method.name}"] * method.needs_think_start
        needs += ["thinking_start=token"] * (start == "token")
        if needs and not self.think_tokens.start:
            raise ValueError(f"{KEY}.{needs[0]} needs a think-start token; set --soft-think-start.")
        if method.needs_think_start and max(map(len, self.think_tokens)) > 1:
            raise ValueError(
                f"{KEY}.method={method.name} mixes think-start and think-end, which must be one "
                f"token each (--soft-think-start, --soft-think-end); got {self.think_tokens}."
            )
        held, size = (
            _offsets_of(request.given),
            self._model.hidden_size * self._model.dtype.itemsize,
        )
        if not method.feeds_offset and not held:
            return 0
        bound, limit = resolved.params.bound, self.settings.max_vector_mb
        steps = request.max_new_tokens if bound is None else min(request.max_new_tokens, bound)
        if steps * size + held > limit * 2**20:
            brought = f", {held / 2**20:.1f} of them for its trace" if held else ""
            raise ValueError(
                f"{KEY}.method={method.name} keeps {size} bytes of host memory a thinking token, "
                f"up to {(steps * size + held) / 2**20:.1f} MiB for this request{brought}; this "
                f"server allows {limit} MiB (--soft-max-vector-mb). Lower max_thinking_tokens or "
                f"max_new_tokens, now {steps} steps."
            )
        return steps * size + held


def _offsets_of(brought: Given | None) -> int:
    """Bytes of embedding offsets that a request brings."""
    if brought is None:
        return 0
    return sum(len(p.offsets) for p in (brought.steps, brought.prompt_steps) if p is not None)


def _refuse_misspelled(custom_params: Iterable[str]) -> None:
    """Raises ValueError: a misspelling of `soft_thinking` would silently disable it."""
    for key in custom_params:
        if looks_like_key(str(key)):
            raise ValueError(
                f"custom_params: unknown key {key!r}; the key of Soft Thinking is {KEY!r}."
            )
