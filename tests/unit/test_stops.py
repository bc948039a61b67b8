"""Where a text is cut at its stop string, and which end-of-sequence tokens become think-end."""

from types import SimpleNamespace

import pytest
from sglang.srt.managers.detokenizer_manager import DetokenizerManager
from sglang_soft_kernels.layout import EOS_COLUMNS

from sglang_soft import resolve
from sglang_soft.hooks.detokenizer_manager import FROM_END, trim_matched_stop
from sglang_soft.params import Sampling
from sglang_soft.server.admission import FrontEnd


@pytest.mark.parametrize(
    ("text", "matched", "from_end", "trimmed"),
    [
        ("6 and 7</think>so 7", "7", 1, "6 and 7</think>so "),
        ("6 and 7</think>so 7", "7", None, "6 and "),  # SGLang's own, from the beginning
        ("a</think>baaa", "a", 3, "a</think>b"),  # a token of three; the first of them counts
        ("x</think>ab", "ab", 9, "x</think>"),
        ("ab", "ab", 99, ""),
        ("x</think>y", "ab", 2, "x</think>y"),
    ],
)
def test_the_answer_is_cut_at_its_own_stop_string(text, matched, from_end, trimmed):
    manager = SimpleNamespace(is_tool_call_parser_gpt_oss=False)
    reason = {"type": "stop", "matched": matched}
    if from_end is not None:
        reason[FROM_END] = from_end

    def trim(no_stop_trim: bool) -> str:
        return trim_matched_stop(
            DetokenizerManager.trim_matched_stop, manager, text, reason, no_stop_trim
        )

    assert trim(False) == trimmed
    assert trim(True) == trimmed + (matched if trimmed != text else "")


def eos_ids(ids: list[int], **params) -> tuple[int, ...]:
    front_end = SimpleNamespace(
        _model=SimpleNamespace(hf_eos_token_id=set(ids)),
        manager=SimpleNamespace(tokenizer=SimpleNamespace(eos_token_id=3)),
    )
    own = Sampling(temperature=1.0, top_p=1.0, top_k=-1, min_p=0.0)
    resolved = resolve.resolve(params, request=own, default=None, max_k=32)
    return FrontEnd._eos_ids(front_end, resolved, SimpleNamespace(ignore_eos=False))


def test_every_end_of_sequence_token_becomes_think_end_or_the_request_is_refused():
    assert eos_ids([9, 5]) == (3, 5, 9)
    assert eos_ids([9, 5], thinking_eos="stop") == ()
    many = [3, *range(10, 10 + EOS_COLUMNS)]
    assert len(eos_ids(many[:-1])) == EOS_COLUMNS
    with pytest.raises(ValueError, match=f"thinking_eos=think_end supports {EOS_COLUMNS} .* has 9"):
        eos_ids(many)


def test_strict_thinking_is_refused_on_a_cpu():
    """SGLang's mask of tokens is for GPUs only: the first request would end the server."""
    from sglang_soft_cpu.platform import CpuPlatform

    args = SimpleNamespace(enable_strict_thinking=True)
    with pytest.raises(ValueError, match="--enable-strict-thinking needs a GPU"):
        CpuPlatform().apply_server_args_defaults(args)
