"""The parts of `sglang_soft.lang` that need no model."""

import inspect

import numpy as np
import pytest
import sglang as sgl
from sglang.lang.backend.base_backend import BaseBackend
from sglang.lang.interpreter import StreamExecutor
from sglang.lang.ir import SglGen, SglSamplingParams, SglSelect

from sglang_soft import lang
from sglang_soft.lang import options, prefix
from sglang_soft.lang.prefix import Prefix, without_stop
from sglang_soft.trace import Steps, Trace


def executor() -> StreamExecutor:
    return StreamExecutor(BaseBackend(), {}, SglSamplingParams(), None, False, use_thread=False)


def carried(expr) -> options.Options:
    """What a backend reads of a gen."""
    return options.take(executor()._resolve_sampling_params(expr.sampling_params))


def trace(thinking: int, answer: list[int], reason: str | None = "stop_token") -> Trace:
    """A prompt of 3 tokens, so many thinking steps, think-end unless reason is "length"."""
    count = thinking + (reason != "length")
    steps = Steps(2)
    for step in range(count):
        steps.append(np.array([step + 1], np.int32), np.ones(1, np.float32), 0.1)
    ids = [*range(1, count + 1), *answer]
    made = Trace(
        method="soft",
        steps=steps,
        start=3,
        prompt_ids=np.arange(3, dtype=np.int32),
        output_ids=np.array(ids, np.int32),
        thinking_finish_reason=reason,
    )
    made.validate()
    return made


def spell(ids: list[list[int]]) -> list[str]:
    """Of a vocabulary in which tokens 40 to 42 are longer, and others one letter."""
    words = {40: "abc", 41: "bc", 42: "<|end|>"}
    return ["".join(words.get(i, chr(96 + i)) for i in one) for one in ids]


def test_the_options_reach_the_backend():
    soft = {"max_topk": 5}
    expr = lang.gen("x", 7, soft_thinking=soft, continue_from="text", sampling_seed=3, dtype=int)
    assert isinstance(expr, SglGen) and expr.sampling_params.max_new_tokens == 7
    resolved = executor()._resolve_sampling_params(expr.sampling_params)
    found = options.take(resolved)
    assert (found.soft_thinking, found.continue_from, found.sampling_seed) == (soft, "text", 3)
    assert resolved.dtype is int
    assert carried(lang.gen("x", soft_thinking=False)).soft_thinking is False
    assert carried(lang.gen("x", sampling_seed=0)).sampling_seed == 0


def test_without_options_it_is_sgl_gen():
    ours, theirs = lang.gen("x", max_tokens=5, stop="a"), sgl.gen("x", max_tokens=5, stop="a")
    assert ours.sampling_params == theirs.sampling_params
    assert list(inspect.signature(lang.gen).parameters)[:-3] == list(
        inspect.signature(sgl.gen).parameters
    )


def test_a_choice_thinks_first():
    thought, choice = lang.gen(
        "x", choices=["a", "b"], temperature=0.6, soft_thinking=True
    ).expr_list
    assert thought.name == "x_thought" and isinstance(choice, SglSelect)
    assert carried(thought).soft_thinking == {"max_answer_tokens": 0}
    assert thought.sampling_params.temperature == 0.6 and choice.temperature == 0
    assert isinstance(lang.gen("x", choices=["a"], soft_thinking=False), SglSelect)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"soft_thinking": 1}, "soft_thinking must be true, false or an object; got 1"),
        ({"soft_thinking": {"trace": "x"}}, "soft_thinking.trace is set by the program itself"),
        ({"soft_thinking": True, "continue_from": "answer"}, "concepts, text; got 'answer'"),
    ],
)
def test_a_wrong_value_is_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        lang.gen("x", **arguments)
    with pytest.raises(TypeError, match="soft_thinkng"):
        lang.gen("x", soft_thinkng=True)


def test_a_program_with_arguments_can_be_traced():
    """SGLang does so before a batch, with arguments that have no value."""

    @sgl.function
    def program(s, way, soft):
        s += "Question: " + lang.gen("x", soft_thinking=soft, continue_from=way)

    from sglang.lang.tracer import extract_prefix_by_tracing

    assert extract_prefix_by_tracing(program, BaseBackend()) == "Question: "


def test_prefixes_are_forked_and_not_joined():
    s = executor()
    s.text_ = "one two three"
    for text in ("one", "one two", "one 2"):
        prefix.add(s, Prefix(text, trace(2, [])))
    assert prefix.prefix_of(s).text == "one two"
    (branch,) = s.fork(1)
    try:
        assert prefix.prefix_of(branch).text == "one two"
        prefix.add(branch, Prefix("one two th", trace(2, [])))
        assert prefix.prefix_of(branch).text == "one two th"
        assert prefix.prefix_of(s).text == "one two", "a branch changed its parent"
    finally:
        branch.end()
    s.text_ = "two"
    assert prefix.prefix_of(s) is None
    parent = executor()
    parent.text_, parent.variables[prefix._KEY] = (
        "one",
        [branch.variables[prefix._KEY]],
    )  # as `join` does
    assert prefix.prefix_of(parent) is None


@pytest.mark.parametrize(
    ("answer", "matched", "text", "left", "length"),
    [
        ([5, 6, 7], None, "efg", [5, 6, 7], 3),  # ended by its length
        ([5, 6, 7], 7, "ef", [5, 6], 2),  # a token id
        ([5, 6, 7], "g", "ef", [5, 6], 2),
        ([5, 6, 7], "fg", "e", [5], 1),
        ([5, 40], "c", "eab", [5], 1),  # "ab" is part of a token
        ([5, 1, 41], "ab", "e", [5], 1),  # the stop string ends inside a token
        ([5, 2, 40], "ba", "e", [5], 1),
        ([5, 42], "<|end|>", "e", [5], 1),  # a special token, which no text shows
        ([5, 6, 7], "[fg]+", "efg", [5, 6, 7], 3),  # a pattern: SGLang leaves the text as it is
    ],
)
def test_a_stop_is_taken_out_of_the_trace(answer, matched, text, left, length):
    thought = spell([[1, 2, 3]])[0]
    shorter, found = without_stop(trace(2, answer), thought + text, matched, spell)
    assert shorter.output_ids.tolist() == [1, 2, 3, *left]
    assert found == len(thought) + length
    shorter.validate()


def test_a_stop_in_the_thought_cuts_it():
    shorter, length = without_stop(trace(6, [], "length"), "abcd", "ef", spell)
    assert len(shorter.steps) == 4 == length and shorter.output_ids.tolist() == [1, 2, 3, 4]
    shorter, length = without_stop(trace(3, []), "abc", "d", spell)  # d is think-end
    assert len(shorter.steps) == 3 == length and not shorter.ended_by_think_end
