"""Req: host-side state of a soft request, and the cache keys of its concept tokens."""

from http import HTTPStatus
from typing import Any
from weakref import WeakKeyDictionary

from sglang.srt.managers.schedule_batch import FINISH_LENGTH, FINISH_MATCHED_STR
from sglang.srt.sampling.sampling_params import TOP_K_ALL
from sglang_soft_kernels.layout import Phase

from sglang_soft import methods, params, resolve
from sglang_soft.engine import unsupported
from sglang_soft.engine.request import SoftRequest
from sglang_soft.hooks.detokenizer_manager import FROM_END
from sglang_soft.server.settings import get_settings


def after_init(_result, self, *args, **kwargs) -> None:
    """`req.soft`: a SoftRequest, or None on a discrete request.

    A request of a front end in which the plugin does not run (a process that attached to the
    engine, SGLang's gRPC server) was not validated: it is answered with an error.
    """
    self.soft = None
    value = (self.sampling_params.custom_params or {}).get(params.KEY)
    try:
        generates = self.sampling_params.max_new_tokens != 0
        if value is None and generates and get_settings().default is not None:
            raise ValueError(
                "the server's default (--soft-default) was not applied to this request"
            )
        if value:
            request = resolve.decode(value, get_settings().max_k, self.vocab_size)
            if reason := unsupported.reason(self.lora_id):
                raise ValueError(reason)
            unsupported.check_model_of(request.given)
            unsupported.check_method(request.params, methods.get(request.method))
            _reserve(self, request)
            self.soft = SoftRequest(request, len(self.origin_input_ids))
    except ValueError as error:
        self.set_finish_with_abort(f"{params.KEY}: {error}")
    except MemoryError as error:
        self.set_finish_with_abort(
            f"{params.KEY}: {error}", HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailableError"
        )
    if self.soft is not None and self.soft.params.return_rollout:
        self.soft.trace.params |= _answer_sampling(self.sampling_params)
    if self.soft is not None:
        # What a custom logit processor reads: an object again, as a client sends it.
        custom = self.sampling_params.custom_params | {params.KEY: dict(self.soft.trace.params)}
        self.sampling_params.custom_params = custom


def _answer_sampling(sampling) -> dict[str, Any]:
    """How the answer is sampled, which may be the request's own: a roll-out needs it."""
    top_k = -1 if sampling.top_k >= TOP_K_ALL else sampling.top_k
    values = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": top_k}
    return {f"answer_{name}": value for name, value in (values | {"min_p": sampling.min_p}).items()}


def _reserve(req, request: params.RequestParams) -> None:
    """Host memory for embedding offsets, until the request has finished. Raises MemoryError.

    All tensor-parallel ranks have to decide alike: they finish requests in the same order, and
    forget them when their garbage collectors say so."""
    if not request.host_bytes:
        return
    limit = get_settings().max_vector_mb_total
    taken = sum(size for other, size in _reserved.items() if not other.finished())
    if taken + request.host_bytes > limit * 2**20:
        raise MemoryError(
            f"method={request.method} may need {request.host_bytes / 2**20:.1f} MiB of host "
            f"memory, and requests that run or wait have {taken / 2**20:.1f} of {limit} MiB "
            "(--soft-max-vector-mb-total). Try again later, or lower max_thinking_tokens."
        )
    _reserved[req] = request.host_bytes


_reserved: WeakKeyDictionary[Any, int] = WeakKeyDictionary()


def set_finish_with_abort(original, self, *args, **kwargs) -> None:
    """SGLang ends a request before it ran, by a prefill of one token in place of its prompt."""
    prompt = self.origin_input_ids
    original(self, *args, **kwargs)
    if getattr(self, "soft", None) is not None:
        self.soft.abandon(prompt)


def refresh_fill_ids(original, self) -> None:
    """Cache keys in place of output ids, in what is both radix key and re-prefill source.

    SGLang appends new output ids to the array or builds it anew; either way only the part that it
    just wrote holds output ids.
    """
    soft: SoftRequest | None = self.soft
    if soft is None:
        return original(self)
    before = self.full_untruncated_fill_ids
    original(self)
    if self.full_untruncated_fill_ids is not before:
        soft.rewrite_cache_keys()
    soft.write_cache_keys(self.full_untruncated_fill_ids, self.rid)
    return None


# Where stop conditions act (`thinking_stop`, `thinking_eos`, `max_answer_tokens`)


def stop_match_tail_len(result: int, self, *args, **kwargs) -> int:
    """No match reaches back into the thought."""
    window = None if self.soft is None else self.soft.stop_window(len(self.output_ids))
    return result if window is None else min(result, window)


def tail_str(original, self, *args, **kwargs) -> str:
    if self.soft is not None and self.soft.stop_window(len(self.output_ids)) == 0:
        return ""  # SGLang takes the last 0 tokens for all of them
    return original(self, *args, **kwargs)


class MatchedInAnswer(FINISH_MATCHED_STR):
    """A stop string that may be in the thought as well, where SGLang would cut the text
    (hooks/detokenizer_manager.py)."""

    def __init__(self, matched: str, from_end: int) -> None:
        """from_end: characters from the beginning of the match to the end of the text."""
        super().__init__(matched)
        self._from_end = from_end

    def to_json(self) -> dict:
        return super().to_json() | {FROM_END: self._from_end}


def check_str_based_finish(original, self, *args, **kwargs) -> bool:
    window = None if self.soft is None else self.soft.stop_window(len(self.output_ids))
    if window == 0:
        return False  # a pattern may match the empty string
    found = original(self, *args, **kwargs)
    if window is not None and type(self.finished_reason) is FINISH_MATCHED_STR:
        matched, tail = self.finished_reason.matched, self.tail_str(*args, **kwargs)
        self.finished_reason = MatchedInAnswer(matched, len(tail) - tail.index(matched))
    return found


def check_token_based_finish(original, self, new_accepted_tokens) -> bool:
    soft: SoftRequest | None = self.soft
    if soft is not None and soft.phase == Phase.THINK:
        named = new_accepted_tokens[0] in (self.sampling_params.stop_token_ids or ())
        acts = soft.params.thinking_stop if named else soft.params.thinking_eos
        if acts not in ("everywhere", "stop"):
            return False
    return original(self, new_accepted_tokens)


def after_update_finish_state(_result, self, *args, **kwargs) -> None:
    soft: SoftRequest | None = self.soft
    if soft is None or soft.params.max_answer_tokens is None or self.finished():
        return
    # The last token is not committed yet: the one that ends the thought is still one of it.
    begins = soft.ends_thought(self.output_ids[-1])
    answered = 0 if begins else soft.answer_tokens(len(self.output_ids))
    if answered is not None and answered >= soft.params.max_answer_tokens:
        self.finished_reason = FINISH_LENGTH(length=len(self.output_ids))
        self.finished_len = len(self.output_ids)
