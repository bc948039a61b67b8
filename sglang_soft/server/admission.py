"""What a soft request meets in the front end: defaults, limits, and the way to the scheduler."""

import itertools
import logging
import secrets
from functools import cached_property
from importlib.metadata import version
from typing import Any

import msgspec
from sglang.srt.managers.io_struct import GenerateReqInput
from sglang.srt.sampling.sampling_params import TOP_K_ALL

from sglang_soft import resolve
from sglang_soft.params import KEY, RequestParams, Sampling
from sglang_soft.server.answer import front_end_header
from sglang_soft.server.limits import unsupported_request, unsupported_server
from sglang_soft.server.routes import add_route
from sglang_soft.server.settings import get_settings
from sglang_soft.server.think_tokens import resolve_think_tokens, starts_thinking

logger = logging.getLogger(__name__)


class ParallelSamples:
    """The encoded parameters of each of n > 1 samples of one request, in order."""

    def __init__(self, request: RequestParams) -> None:
        self._request, self._index = request, itertools.count()

    def encode(self, sample: int) -> str:
        return msgspec.structs.replace(self._request, sample=sample).encode()

    def __next__(self) -> str:
        return self.encode(next(self._index))


class FrontEnd:
    """Validates the soft requests of one `TokenizerManager`."""

    def __init__(self, tokenizer_manager, server_args) -> None:
        """Raises SystemExit: a setting is malformed, or Soft Thinking was asked for (our
        launch_server, or a server-wide default) and cannot work. A server that merely has the
        plugin installed serves discrete requests all the same and refuses soft ones."""
        try:
            self.settings = get_settings()
        except ValueError as error:
            raise SystemExit(f"sglang-soft: {error}") from None
        self._manager = tokenizer_manager
        self._model = tokenizer_manager.model_config
        self.think_tokens = None
        self.unsupported = unsupported_server(server_args)
        """Reason this server does not support Soft Thinking, or None."""
        if self.unsupported is None:
            try:
                self.think_tokens = resolve_think_tokens(
                    tokenizer_manager.tokenizer, server_args.reasoning_parser, self.settings,
                    self._model.vocab_size,
                )  # fmt: skip
            except ValueError as error:
                self.unsupported = str(error)
        if self.unsupported and self.settings.enabled:
            raise SystemExit(f"sglang-soft: {self.unsupported}")
        add_route(self.settings, self.think_tokens, self.unsupported)
        state = self.unsupported or f"ready, think tokens {self.think_tokens}"
        logger.info("Soft Thinking: %s", state)

    @cached_property
    def header(self) -> dict[str, Any]:
        """What the front end adds to every trace."""
        return front_end_header(self._manager.tokenizer, self.think_tokens, version("sglang"))

    def admit(self, obj, tokenized) -> None:
        """Replace `custom_params["soft_thinking"]` of a tokenized request by its validated, encoded
        form. Raises ValueError, which becomes HTTP 400."""
        if not isinstance(obj, GenerateReqInput):
            return
        sampling = tokenized.sampling_params
        custom = dict(sampling.custom_params or {})
        raw = custom.pop(KEY, None)
        resolve.refuse_misspelled(custom)
        own = Sampling(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=-1 if sampling.top_k == TOP_K_ALL else sampling.top_k,
            min_p=sampling.min_p,
        )
        resolved = resolve.resolve(
            raw, request=own, default=self.settings.default, max_k=self.settings.max_k
        )
        if resolved is not None:
            self._refuse_unsupported(obj, sampling)
            request = self._request(resolved, tokenized)
            custom[KEY] = ParallelSamples(request) if sampling.n > 1 else request.encode()
            answer = resolved.answer
            sampling.temperature, sampling.top_p = answer.temperature, answer.top_p
            sampling.min_p = answer.min_p
            sampling.top_k = TOP_K_ALL if answer.top_k == -1 else answer.top_k
        sampling.custom_params = custom or None

    def _request(self, resolved: resolve.Resolved, tokenized) -> RequestParams:
        sampling, tokens = tokenized.sampling_params, self.think_tokens
        assert tokens is not None
        max_new_tokens = sampling.max_new_tokens
        if max_new_tokens is None:
            max_new_tokens = max(1, self._manager.context_len - len(tokenized.input_ids))
        seed = sampling.sampling_seed
        request = RequestParams(
            params=resolved.params,
            thinking=resolved.thinking,
            # 53 bits: a seed is sent to the client, and JavaScript's numbers hold no more.
            seed=secrets.randbits(53) if seed is None else seed,
            max_new_tokens=max_new_tokens,
            think_start_id=tokens.start,
            think_end_id=tokens.end,
            starts_thinking=starts_thinking(tokenized.input_ids, tokens),
        )
        self._refuse_unbounded(resolved, request)
        return request

    def _refuse_unsupported(self, obj, sampling) -> None:
        if self.unsupported:
            raise ValueError(f"{KEY}: {self.unsupported}.")
        reason = unsupported_request(obj, sampling)
        if reason:
            raise ValueError(
                f"{KEY} cannot be used together with {reason}; leave that out, or send {KEY}=false."
            )

    def _refuse_unbounded(self, resolved: resolve.Resolved, request: RequestParams) -> None:
        """What a method needs that this request or server cannot give: host memory for embedding
        offsets, a think-start token."""
        method = resolved.method
        if method.needs_think_start and request.think_start_id is None:
            raise ValueError(
                f"{KEY}.method={method.name} needs a think-start token; set --soft-think-start."
            )
        if not method.feeds_offset:
            return
        bound, limit = resolved.params.max_thinking_tokens, self.settings.max_vector_mb
        steps = request.max_new_tokens if bound is None else min(request.max_new_tokens, bound)
        size = self._model.hidden_size * self._model.dtype.itemsize
        if steps * size > limit * 2**20:
            raise ValueError(
                f"{KEY}.method={method.name} keeps {size} bytes of host memory a thinking token, "
                f"up to {steps * size / 2**20:.1f} MiB for this request; this server allows "
                f"{limit} MiB (--soft-max-vector-mb). Lower max_thinking_tokens or "
                f"max_new_tokens, now {steps} steps."
            )
