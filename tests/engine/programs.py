"""Programs that think softly, and what has to hold for each; on a server and on an engine.

Every check takes a backend of `sglang_soft.lang`. The model is the bundled one or a tiny one with
random weights, so nothing is said of what an answer means.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import sglang as sgl

from sglang_soft import lang
from sglang_soft.params import KEY
from sglang_soft.trace import Trace

if TYPE_CHECKING:
    from sglang_soft.lang.backend import Backend

OPEN = "<think>"
QUESTION = "What is 43*34?"
SOFT = {"max_thinking_tokens": 8, "answer_temperature": 0.0, "top_k": 30, "return_concepts": True}
PLAINLY = {"temperature": 0.0, "max_new_tokens": 6, "ignore_eos": True, "stop": ["<|im_end|>"]}
"""What `plain_gen` asks for with SGLang's template chatml."""
CLOSE = 1e-4
"""Between logprobs of one prefill and of another, in nats."""


def soft_gen(name: str, tokens: int, **kwargs: Any):
    """Of so many tokens; with 8 of them for the thought, the rest is the answer."""
    soft = SOFT | kwargs.pop("soft", {})
    usual = {"temperature": 0.6, "ignore_eos": True}
    return lang.gen(name, max_tokens=tokens, soft_thinking=soft, **(usual | kwargs))


def plain_gen(name: str, tokens: int = 6, **kwargs: Any):
    usual = {"temperature": 0.0, "ignore_eos": True, "return_logprob": True}
    return sgl.gen(name, max_tokens=tokens, **(usual | kwargs))


def done(state: Any) -> Any:
    if (error := state.error()) is not None:
        raise error
    return state


def trace_of(state: Any, name: str) -> Trace:
    return Trace.from_json(state.get_meta_info(name)[KEY]["trace"])


def logprobs(info: dict) -> list[float]:
    return [entry[0] for entry in info["output_token_logprobs"]]


def direct(on: "Backend", trace: Trace, text: str, **sampling: Any) -> dict:
    """The answer to a request that continues from a trace, which no program made."""
    soft = {"trace": trace.to_json(), "at": "end", "thinking_start": "never"}
    sampling = PLAINLY | sampling | {"custom_params": {KEY: soft}}
    body = {"text": text, "sampling_params": sampling, "return_logprob": True}
    return on._ask(body | {"logprob_start_len": 0} if not sampling["max_new_tokens"] else body)


def read(on: "Backend", ids: np.ndarray) -> str:
    """The text of tokens, special ones included."""
    if isinstance(on, lang.EngineBackend):
        return on.engine.tokenizer_manager.tokenizer.decode(ids.tolist())
    body = {"tokens": ids.tolist(), "skip_special_tokens": False}
    return on._request("/detokenize", body).json()["text"]


@sgl.function
def two_pieces(s, way: str, piece: str = "\nSo 12+3", **thought: Any):
    s += sgl.user(QUESTION)
    s += sgl.assistant_begin() + OPEN
    s += soft_gen("first", 12, continue_from=way, **thought)
    s += piece
    s += plain_gen("second")


def what_follows_is_fed_the_concept_tokens(on: "Backend") -> None:
    state = done(two_pieces.run("concepts", backend=on))
    assert state.get_meta_info("first")[KEY]["mixed_share"] > 0
    trace = trace_of(state, "first")
    out = direct(on, trace, "\nSo 12+3")
    second = state.get_meta_info("second")
    assert state["second"] == out["text"]
    assert second["prompt_tokens"] == out["meta_info"]["prompt_tokens"]
    np.testing.assert_allclose(logprobs(second), logprobs(out["meta_info"]), atol=CLOSE)

    as_text = done(two_pieces.run("text", backend=on))
    assert as_text["first"] == state["first"], "the thoughts are the same"
    second = as_text.get_meta_info("second")
    assert KEY not in second
    off = abs(logprobs(second)[0] - logprobs(out["meta_info"])[0])
    assert off > 10 * CLOSE, f"text is read like the concepts: {off}"


def a_stop_is_read_once(on: "Backend") -> None:
    """What ended a request is in its tokens; the model reads what the program's text says."""
    answer = done(two_pieces.run("concepts", backend=on))["first"].rpartition("</think>")[2]
    whole = trace_of(done(two_pieces.run("concepts", backend=on)), "first")
    ended_by = {
        "stop": answer[1:3],
        "stop_token_ids": [int(whole.output_ids[-2])],
        "stop_regex": "[" + "".join(f"\\x{ord(c):02x}" for c in answer[1:2]) + "]",
    }
    for name, value in ended_by.items():
        for again in ("", str(value) if name == "stop" else "."):
            check_reads_its_text(on, {name: value, "ignore_eos": False}, f"{again}\nAnd now")
    check_reads_its_text(
        on, {"stop": "</think>", "soft": {"thinking_stop": "everywhere"}}, "</think>\nAnd now"
    )


def check_reads_its_text(on: "Backend", how: dict, piece: str) -> None:
    @sgl.function
    def three_pieces(s):
        s += sgl.user(QUESTION)
        s += sgl.assistant_begin() + OPEN
        s += soft_gen("first", 12, **how)
        s += piece + OPEN
        s += soft_gen("second", 10)

    state = done(three_pieces.run(backend=on))
    assert state.get_meta_info("first")["finish_reason"]["type"] == "stop", how
    trace = trace_of(state, "second")
    assert trace.prompt_steps is not None and trace.prompt_start is not None
    text = state.text()
    assert read(on, trace.prompt_ids) == text[: len(text) - len(state["second"])], how
    first = trace_of(state, "first")
    np.testing.assert_array_equal(trace.prompt_steps.ids[:8], first.ids[:8])


def branches_continue_from_the_thought(on: "Backend") -> None:
    @sgl.function
    def forked(s):
        s += sgl.user(QUESTION)
        s += sgl.assistant_begin() + OPEN + soft_gen("first", 12)
        branches = s.fork(3)
        branches += lambda i: f"\nSo {i}" + plain_gen("second")
        branches += soft_gen("third", 4, soft={"method": "soft_gumbel", "thinking_start": "now"})
        infos = [done(b).get_meta_info("second") for b in branches]
        thirds = [b.get_meta_info("third")[KEY] for b in branches]
        branches.join()
        return infos, thirds

    state = done(forked.run(backend=on))
    infos, thirds = state.ret_value
    trace = trace_of(state, "first")
    for i, (text, info) in enumerate(zip(state["second"], infos, strict=True)):
        out = direct(on, trace, f"\nSo {i}")
        assert text == out["text"]
        np.testing.assert_allclose(logprobs(info), logprobs(out["meta_info"]), atol=CLOSE)
    assert len({third["seed"] for third in thirds}) == 3, "the branches have the same noise"
    assert all(third["thinking_tokens"] == 4 for third in thirds)
    assert trace_of(state, "first").to_json() == trace.to_json()


def branches_are_joined_as_text(on: "Backend") -> None:
    @sgl.function
    def joined(s):
        s += sgl.user(QUESTION)
        branches = s.fork(2)
        branches += OPEN + soft_gen("first", 12) + "\n"
        branches.join("concate_and_append")
        s += plain_gen("second")

    state = done(joined.run(backend=on))
    text = state.text()
    assert text.count("</think>") == 2
    out = on._ask(
        {"text": text[: len(text) - len(state["second"])], "return_logprob": True,
         "sampling_params": PLAINLY}
    )  # fmt: skip
    second = state.get_meta_info("second")
    np.testing.assert_allclose(logprobs(second), logprobs(out["meta_info"]), atol=CLOSE)


def an_open_thought_goes_on(on: "Backend") -> None:
    """Two calls with nothing in between think as one does."""

    @sgl.function
    def thought(s, pieces: list[int]):
        s += sgl.user(QUESTION)
        s += sgl.assistant_begin() + OPEN
        for i, tokens in enumerate(pieces):
            s += soft_gen(f"piece {i}", tokens)

    whole = done(thought.run([12], backend=on))
    pieces = done(thought.run([3, 2, 7], backend=on))
    assert pieces.text() == whole.text()
    assert pieces.get_meta_info("piece 2")[KEY]["given"]["steps"] == 5
    one, other = trace_of(whole, "piece 0"), trace_of(pieces, "piece 2")
    assert len(one.steps) == 9 and one.output_ids.tolist() == other.output_ids.tolist()
    for step in range(9):
        assert set(one.concept(step).ids) == set(other.concept(step).ids)
        assert abs(one.entropy[step] - other.entropy[step]) < 1e-3


def a_stream_gives_the_same(on: "Backend") -> None:
    whole = done(two_pieces.run("concepts", backend=on))
    for way in ("variables", "text"):
        streamed = two_pieces.run("concepts", backend=on, stream=True)
        # SGLang's iterators may miss the last part: they look whether the end has come after they
        # have read. So what they give is compared as a beginning.
        if way == "text":
            assert whole.text().startswith("".join(streamed.text_iter()))
        else:
            parts = list(streamed.text_iter("first"))
            assert parts and whole["first"].startswith("".join(parts)), parts
        assert streamed["first"] == whole["first"] and streamed["second"] == whole["second"]
        assert streamed.text() == whole.text()
        info = done(streamed).get_meta_info("second")
        np.testing.assert_allclose(
            logprobs(info)[-1], logprobs(whole.get_meta_info("second"))[-1], atol=CLOSE
        )


def many_threads_give_the_same(on: "Backend") -> None:
    pieces = [f"\nSo {i}" for i in range(12)]
    asked = [{"way": "concepts", "piece": piece} for piece in pieces]
    alone = [done(two_pieces.run(**one, backend=on)) for one in asked[:3]]
    batch = two_pieces.run_batch(asked, backend=on, num_threads=6)
    for one, other in zip(alone, batch, strict=False):
        assert done(other).text() == one.text()
    assert all(KEY in done(state).get_meta_info("second") for state in batch)


def a_grammar_binds_what_follows(on: "Backend") -> None:
    @sgl.function
    def digits(s):
        s += sgl.user(QUESTION)
        s += sgl.assistant_begin() + OPEN + soft_gen("first", 12)
        s += plain_gen("second", regex="[0-9]{2}[.]", ignore_eos=False)
        s += " " + lang.gen("third", max_tokens=4, dtype=int, soft_thinking=False)

    state = done(digits.run(backend=on))
    assert len(state["second"]) == 3 and state["second"][:2].isdigit()
    assert state["third"].strip().lstrip("+-").isdigit()
    assert state.get_meta_info("second")[KEY]["thinking_tokens"] == 0


def a_choice_reads_the_concept_tokens(on: "Backend") -> None:
    choices = ["12", "no", "3."]

    @sgl.function
    def choose(s, way: str):
        s += sgl.user(QUESTION)
        s += sgl.assistant_begin() + OPEN + soft_gen("first", 12, continue_from=way)
        s += "\nSo "
        s += sgl.select("second", choices)

    state = done(choose.run("concepts", backend=on))
    found = state.get_meta_info("second")["normalized_prompt_logprobs"]
    expected = []
    for choice in choices:
        out = direct(on, trace_of(state, "first"), "\nSo " + choice, max_new_tokens=0)
        values = [entry[0] for entry in out["meta_info"]["input_token_logprobs"]]
        # Each character is a token, and SGLang counts the last one before the choice as well.
        expected.append(float(np.mean(values[-len(choice) - 1 :])))
    np.testing.assert_allclose(found, expected, atol=CLOSE)
    assert state["second"] == choices[int(np.argmax(expected))]
    as_text = done(choose.run("text", backend=on)).get_meta_info("second")
    assert np.abs(np.array(as_text["normalized_prompt_logprobs"]) - found).max() > 10 * CLOSE


def a_choice_after_a_thought_of_its_own(on: "Backend") -> None:
    @sgl.function
    def choose(s, tokens: int):
        s += sgl.user(QUESTION)
        s += sgl.assistant_begin() + OPEN
        s += lang.gen(
            "sign", choices=["+", "-"], max_tokens=tokens, temperature=0.6, soft_thinking=SOFT
        )

    state = done(choose.run(20, backend=on))
    assert state["sign"] in ("+", "-")
    thought = state.get_meta_info("sign_thought")[KEY]
    assert thought["thinking_tokens"] <= 8 and thought["answer_tokens"] == 0, thought
    assert state.text().endswith(state["sign_thought"] + state["sign"])
    out = direct(on, trace_of(state, "sign_thought"), state["sign"], max_new_tokens=0)
    values = [entry[0] for entry in out["meta_info"]["input_token_logprobs"]]
    found = max(state.get_meta_info("sign")["normalized_prompt_logprobs"])
    # SGLang counts the last token before the choice as well: think-end.
    assert abs(found - np.mean(values[-2:])) < CLOSE, f"{found}, {values}"
    error = choose.run(3, backend=on).error()
    assert "max_thinking_tokens" in str(error), error


def a_thought_that_is_taken_out_is_not_read(on: "Backend") -> None:
    @sgl.function
    def separated(s):
        s += sgl.user(QUESTION)
        thought = soft_gen("first", 12)
        s += sgl.assistant(sgl.separate_reasoning(OPEN + thought, model_type="deepseek-r1"))
        s += sgl.user("And?")
        s += sgl.assistant_begin() + OPEN + soft_gen("second", 10)

    state = done(separated.run(backend=on))
    assert "</think>" not in state["first"] and state["first_reasoning_content"]
    trace = trace_of(state, "second")
    assert trace.prompt_steps is None
    text = state.text()
    assert read(on, trace.prompt_ids) == text[: len(text) - len(state["second"])]


def every_thought_of_a_chat_is_read(on: "Backend") -> None:
    @sgl.function
    def chat(s):
        for name in ("first", "second"):
            s += sgl.user(QUESTION)
            s += sgl.assistant(OPEN + soft_gen(name, 12))
        s += sgl.user("And?")
        s += sgl.assistant_begin() + plain_gen("third")

    state = done(chat.run(backend=on))
    trace = trace_of(state, "second")
    assert trace.prompt_steps is not None
    text = state.text()
    rest = text[text.index(state["second"], len(text) // 2) + len(state["second"]) :]
    out = direct(on, trace, rest[: len(rest) - len(state["third"])])
    third = state.get_meta_info("third")
    np.testing.assert_allclose(logprobs(third), logprobs(out["meta_info"]), atol=CLOSE)


def several_samples(on: "Backend") -> None:
    @sgl.function
    def samples(s):
        s += sgl.user(QUESTION)
        s += sgl.assistant_begin() + OPEN + soft_gen("first", 12, n=3)
        s += plain_gen("second")

    state = done(samples.run(backend=on))
    assert len(state["first"]) == 3 == len(state.get_meta_info("first"))
    assert state.text().endswith(state["first"][0] + state["second"])
    assert KEY in state.get_meta_info("second")
    assert "n must be 1" in str(samples.run(backend=on, stream=True).error())


def a_program_without_soft_thinking(on: "Backend") -> None:
    @sgl.function
    def plain(s):
        s += sgl.user(QUESTION)
        s += sgl.assistant_begin() + OPEN + plain_gen("first")
        s += lang.gen("second", max_tokens=4, temperature=0.0, soft_thinking=False)

    state = done(plain.run(backend=on))
    assert KEY not in state.get_meta_info("first") and KEY not in state.get_meta_info("second")
    on.flush_cache()


CHECKS = (
    what_follows_is_fed_the_concept_tokens,
    a_stop_is_read_once,
    branches_continue_from_the_thought,
    branches_are_joined_as_text,
    an_open_thought_goes_on,
    a_stream_gives_the_same,
    many_threads_give_the_same,
    a_grammar_binds_what_follows,
    a_choice_reads_the_concept_tokens,
    a_choice_after_a_thought_of_its_own,
    a_thought_that_is_taken_out_is_not_read,
    every_thought_of_a_chat_is_read,
    several_samples,
    a_program_without_soft_thinking,
)


def on_engine(engine: "sgl.Engine", check: str) -> str | None:
    """In the engine's process. Returns what failed: an exception would end the engine."""
    import traceback

    try:
        globals()[check](lang.EngineBackend(engine, "chatml"))
    except Exception:
        return traceback.format_exc()
    return None
