"""What both backends share: a program's requests, and what becomes of the answers."""

import secrets
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

from sglang.lang.backend.runtime_endpoint import RuntimeEndpoint as SglangEndpoint
from sglang.lang.global_config import global_config
from sglang.lang.interpreter import StreamExecutor
from sglang.lang.ir import SglSamplingParams

from sglang_soft.lang import options as options_of
from sglang_soft.lang.options import Options
from sglang_soft.lang.prefix import Prefix, add, prefix_of, without_stop
from sglang_soft.params import KEY
from sglang_soft.trace import Trace

LOGPROBS = ("return_logprob", "logprob_start_len", "top_logprobs_num", "return_text_in_logprobs")
Body = dict[str, Any]
"""JSON of /generate."""


class Backend(SglangEndpoint):
    """SGLang's RuntimeEndpoint with `soft_thinking`. `select` is SGLang's own."""

    @abstractmethod
    def _ask(self, body: Body) -> Any:
        """The answer of /generate; a list where the body asks for several."""

    @abstractmethod
    def _ask_stream(self, body: Body) -> Iterator[dict[str, Any]]:
        """The chunks of an answer; the text in each is that so far."""

    @abstractmethod
    def _decode(self, ids: list[list[int]]) -> list[str]:
        """Texts of token ids, special tokens included."""

    def _refer_to(self, prefix: Prefix) -> Any:
        """Value of the key `trace`."""
        return prefix.trace

    def generate(self, s: StreamExecutor, sampling_params: SglSamplingParams):
        options = options_of.take(sampling_params)
        answer = self._ask(self._body(s, sampling_params, options))
        if isinstance(answer, list):  # n > 1; the program's text goes on from the first one
            self._read(s, options, answer[0]["text"], [answer[0]["meta_info"]])
            for other in answer[1:]:
                _drop_trace(options, other["meta_info"])
            return [one["text"] for one in answer], [one["meta_info"] for one in answer]
        self._read(s, options, answer["text"], [answer["meta_info"]])
        return answer["text"], answer["meta_info"]

    def generate_stream(self, s: StreamExecutor, sampling_params: SglSamplingParams):
        options = options_of.take(sampling_params)
        if sampling_params.n > 1:
            raise ValueError(f"n must be 1 in a program that streams; got {sampling_params.n}.")
        start, text, infos = len(s.text_), "", []
        for chunk in self._ask_stream(self._body(s, sampling_params, options)):
            new, text = chunk["text"][len(text) :], chunk["text"]
            infos.append(chunk["meta_info"])
            if infos[-1]["finish_reason"]:
                # Before the last part is handed on: then the program's variable counts as ready.
                self._read(s, options, text, infos, start)
            yield new, chunk["meta_info"]

    def commit_lazy_operations(self, s: StreamExecutor) -> None:
        """Before a fork: the prefix goes into the radix cache."""
        self._generate_http_request(s, {"text": s.text_, "sampling_params": {"max_new_tokens": 0}})

    fill_image = commit_lazy_operations

    def cache_prefix(self, prefix_str: str) -> None:
        self._ask({"text": prefix_str, "sampling_params": {"max_new_tokens": 0}})

    def _generate_http_request(self, s: StreamExecutor, data: Body) -> Any:
        """What SGLang's `select` asks with: bodies whose texts begin with the program's."""
        self._add_images(s, data)
        if "text" in data and (prefix := prefix_of(s)) is not None:
            texts, at = data["text"], len(prefix.text)
            rest = texts[at:] if isinstance(texts, str) else [text[at:] for text in texts]
            custom = {"custom_params": {KEY: self._plainly_after(prefix)}}
            data = data | {"text": rest, "sampling_params": data["sampling_params"] | custom}
        return self._ask(data)

    def _body(self, s: StreamExecutor, params: SglSamplingParams, options: Options) -> Body:
        self._handle_dtype_to_regex(params)
        prefix = prefix_of(s)
        soft: Any = options.keys if options.thinks else options.soft_thinking
        if options.thinks and options.continue_from == "concepts":
            soft |= {"return_concepts": True}
        seed = options.sampling_seed
        if prefix is not None and options.thinks:
            soft = soft | self._after(prefix)
            if prefix.text == s.text_ and prefix.thinks:
                del soft["at"]  # nothing in between: the thought itself goes on
            if seed is None:
                # The trace's would be used otherwise: all branches of a fork would think alike.
                seed = secrets.randbits(53)
        elif prefix is not None:
            soft = self._plainly_after(prefix)
        sampling = {
            "skip_special_tokens": global_config.skip_special_tokens_in_output,
            "spaces_between_special_tokens": global_config.spaces_between_special_tokens_in_out,
            **params.to_srt_kwargs(),
        }
        if soft is not None:
            sampling["custom_params"] = {KEY: soft}
        if seed is not None:
            sampling["sampling_seed"] = seed
        given = {name: getattr(params, name) for name in LOGPROBS}
        body = {
            "text": s.text_[len(prefix.text) if prefix else 0 :],
            "sampling_params": sampling,
            **{name: value for name, value in given.items() if value is not None},
        }
        self._add_images(s, body)
        return body

    def _after(self, prefix: Prefix) -> dict[str, Any]:
        return {"trace": self._refer_to(prefix), "at": "end"}

    def _plainly_after(self, prefix: Prefix) -> dict[str, Any]:
        return self._after(prefix) | {"thinking_start": "never"}

    def _read(
        self,
        s: StreamExecutor,
        options: Options,
        text: str,
        infos: list[dict[str, Any]],
        start: int | None = None,
    ) -> None:
        """Note what the program's following text continues from.

        infos: `meta_info` of every chunk. start: length of the program's text before the answer.
        """
        last, before = infos[-1], s.text_[:start]
        if options.thought_only and last[KEY]["thinking_finish_reason"] == "length":
            raise RuntimeError(
                f"the thought did not end within {last['completion_tokens']} tokens; give it "
                "soft_thinking.max_thinking_tokens, or more max_tokens."
            )
        if not (options.thinks and options.continue_from == "concepts"):
            return
        parts = [info[KEY]["trace"] for info in infos if "trace" in info.get(KEY, {})]
        _drop_trace(options, *infos)
        trace = Trace.from_json(parts)
        if trace.start is None and trace.prompt_steps is None:
            return  # there is no thought; what it said is read as text
        trace, length = without_stop(
            trace, text, last["finish_reason"].get("matched"), self._decode
        )
        add(s, Prefix(before + text[:length], trace))


def _drop_trace(options: Options, *infos: dict[str, Any]) -> None:
    """A program reads the trace in `meta_info` only where it asked for it."""
    if not options.keys.get("return_concepts"):
        for info in infos:
            info.get(KEY, {}).pop("trace", None)
