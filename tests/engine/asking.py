"""The same request as an engine is asked and as the oracle is asked, and whether they agree."""

from collections.abc import Sequence

from tests.engine.cases import Case, sampling_params
from tests.engine.under_test import EngineUnderTest
from tests.models import tiny
from tests.oracle import Concept, Observed, Request, Trace, compare, run
from tests.oracle.boundaries import boundary_ids
from tests.oracle.math_tokens import math_ids

_ORACLE: dict[tuple, Trace] = {}


def oracle_request(under_test: EngineUnderTest, case: Case) -> Request:
    """The case as the oracle is asked."""
    left_out = ("return_concepts", "return_rollout", "thinking_start")
    soft = {key: value for key, value in (case.soft or {}).items() if key not in left_out}
    tau = soft.pop("cold_stop_entropy", None)
    closing = under_test.tokenizer.encode(soft.pop("closing_text", ""), add_special_tokens=False)
    at = (soft.get("stop") or {}).get("at")
    defaults = {
        "method": "soft",
        "temperature": 0.0,
        "top_k": -1,
        "top_p": 1.0,
        "min_p": 0.0,
        "seed": case.seed,
    }
    if case.soft is None:
        defaults["method"] = "discrete"
    return Request(
        think_start_id=under_test.token_id("<think>"),
        think_end_id=under_test.token_id("</think>"),
        max_new_tokens=case.max_new_tokens,
        cold_stop_threshold=tau,
        closing=tuple(closing),
        **delimiters(under_test),
        math_ids=math_ids(under_test.tokenizer),
        boundary_ids=boundary_ids(under_test.tokenizer, at) if at else frozenset(),
        **(defaults | soft),
    )


def expected(under_test: EngineUnderTest, case: Case) -> Trace:
    """What the oracle says; computed once for each model and case."""
    key = (under_test.setup.family, *under_test.setup.delimiters.values(), case.name)
    if key not in _ORACLE:
        _ORACLE[key] = run(
            under_test.hf_model, prompt_ids(under_test, case), oracle_request(under_test, case)
        )
    return _ORACLE[key]


def prompt_ids(under_test: EngineUnderTest, case: Case) -> list[int]:
    ids = tiny.prompt_ids(under_test.tokenizer, case.prompt)
    start = delimiters(under_test).get("think_start", ())
    return [*ids, *start] if case.prompt in tiny.OPEN_PROMPTS else ids


def delimiters(under_test: EngineUnderTest) -> dict[str, tuple[int, ...]]:
    """Tokens of think-start and think-end, as fields of the oracle's request; empty: the usual."""
    texts, encode = under_test.setup.delimiters, under_test.tokenizer.encode
    return {name: tuple(encode(text, add_special_tokens=False)) for name, text in texts.items()}


def observed(out: dict) -> Observed:
    """An engine's answer as plain data."""
    soft = out["meta_info"].get("soft_thinking", {})
    columns = soft.get("trace", {"ids": [], "weights": [], "entropy": []})
    return Observed(
        output_ids=out["output_ids"],
        concepts=[
            Concept(*step) for step in zip(columns["ids"], columns["weights"], columns["entropy"])
        ],
        thinking_tokens=soft.get("thinking_tokens", 0),
        ended=soft.get("thinking_finish_reason"),
        finish=out["meta_info"]["finish_reason"]["type"],
    )


def joined(chunks: list[dict]) -> dict:
    """A stream's last chunk, with the columns of all chunks in its trace."""
    parts = [c["meta_info"].get("soft_thinking", {}).get("trace", {}) for c in chunks]
    whole = {
        column: [step for part in parts for step in part.get(column, [])]
        for column in ("ids", "weights", "entropy")
    }
    last = chunks[-1]
    soft = last["meta_info"].get("soft_thinking")
    if soft is None:
        return last
    return last | {"meta_info": last["meta_info"] | {"soft_thinking": soft | {"trace": whole}}}


def ask(engine: EngineUnderTest, cases: Sequence[Case], **kwargs) -> list[dict]:
    """The answers to one batch."""
    prompts = [prompt_ids(engine, case) for case in cases]
    return engine.generate(prompts, [sampling_params(case) for case in cases], **kwargs)


def compare_all(engine: EngineUnderTest, cases: Sequence[Case]) -> list[dict]:
    """Run the cases as one batch; every one has to be as if it were alone. Returns the answers."""
    engine.flush()
    outs, problems = ask(engine, cases), []
    for case, out in zip(cases, outs, strict=True):
        try:
            compare(observed(out), expected(engine, case))
        except AssertionError as error:
            problems.append(f"{case.name}: {error}")
    assert not problems, "\n".join(problems)
    return outs


def finish_reasons(outs: list[dict]) -> set[str | None]:
    """Why the soft requests stopped thinking."""
    infos = [out["meta_info"].get("soft_thinking") for out in outs]
    return {info["thinking_finish_reason"] for info in infos if info}


def retractions(outs: list[dict], phase: str) -> int:
    """How often requests were retracted while they were "thinking" or "answering"."""
    infos = [out["meta_info"].get("soft_thinking") for out in outs]
    return sum(info["retractions"][phase] for info in infos if info)
