"""Requests of the trace tests: each as an engine is asked and as the oracle is asked."""

from dataclasses import dataclass, field

from tests.engine.setups import EngineUnderTest
from tests.models import tiny
from tests.oracle import Concept, Observed, Request, Trace, run

ANSWER = {"temperature": 0.0, "ignore_eos": True}


@dataclass(frozen=True)
class Case:
    """A request. `soft` holds keys of `soft_thinking`; None: a hard request."""

    name: str
    prompt: str
    soft: dict | None = field(default_factory=dict)
    max_new_tokens: int = 48
    seed: int | None = None


SOFT = {"temperature": 0.6, "top_p": 0.95, "top_k": 30, "min_p": 0.001}
COLD = {"cold_stop_entropy": 1.0, "cold_stop_steps": 3}

CASES: tuple[Case, ...] = (
    Case("soft", "sum", SOFT),
    Case("soft, the same again", "sum", SOFT),
    Case("soft, long prompt", "long", SOFT),
    Case("soft, chat", "chat", SOFT | {"max_topk": 5}),
    Case("soft, wide and unfiltered", "again", {"temperature": 1.0, "max_topk": 20}),
    Case("soft, short", "tiny", SOFT | {"max_topk": 15, "temperature": 0.9}),
    Case("soft, bound", "sum", SOFT | {"max_thinking_tokens": 12}),
    Case("soft, bound 0", "chat", SOFT | {"max_thinking_tokens": 0}, max_new_tokens=16),
    Case("soft, cold stop", "digits", SOFT | COLD),
    Case("soft, cold stop, long", "long", SOFT | COLD),
    Case(
        "soft, cold stop at once", "tiny", SOFT | {"cold_stop_entropy": 50.0, "cold_stop_steps": 1}
    ),
    Case("greedy thinking", "sum", {"temperature": 0.0}),
    Case("greedy thinking, cold stop", "chat", {"temperature": 0.0} | COLD),
    Case("one-hot", "digits", SOFT | {"max_topk": 1}),
    Case("never thinks", "plain", SOFT),
    Case("closed block", "closed", SOFT),
    Case("opens its own block", "opens", SOFT, max_new_tokens=60),
    Case("hard", "sum", None),
    Case("hard, long", "long", None),
    Case("hard, plain", "plain", None),
)


def sampling_params(case: Case, **soft) -> dict:
    params = ANSWER | {"max_new_tokens": case.max_new_tokens}
    if case.seed is not None:
        params["sampling_seed"] = case.seed
    if case.soft is not None:
        params["custom_params"] = {"soft_thinking": {"return_concepts": True} | case.soft | soft}
    return params


_ORACLE: dict[tuple, Trace] = {}


def oracle_request(under_test: EngineUnderTest, case: Case) -> Request:
    """The case as the oracle is asked."""
    soft = {key: value for key, value in (case.soft or {}).items() if key != "return_concepts"}
    tau = soft.pop("cold_stop_entropy", None)
    defaults = {
        "method": "soft",
        "temperature": 0.0,
        "top_k": -1,
        "top_p": 1.0,
        "min_p": 0.0,
        "seed": case.seed,
    }
    if case.soft is None:
        defaults["method"] = "hard"
    return Request(
        think_start_id=under_test.token_id("<think>"),
        think_end_id=under_test.token_id("</think>"),
        max_new_tokens=case.max_new_tokens,
        cold_stop_threshold=tau,
        **(defaults | soft),
    )


def expected(under_test: EngineUnderTest, case: Case) -> Trace:
    """What the oracle says; computed once for each model and case."""
    key = (under_test.setup.family, case.name)
    if key not in _ORACLE:
        _ORACLE[key] = run(
            under_test.hf_model, prompt_ids(under_test, case), oracle_request(under_test, case)
        )
    return _ORACLE[key]


def prompt_ids(under_test: EngineUnderTest, case: Case) -> list[int]:
    return tiny.prompt_ids(under_test.tokenizer, case.prompt)


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
