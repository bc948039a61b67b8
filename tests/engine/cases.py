"""Requests of the trace tests."""

from dataclasses import dataclass, field

ANSWER = {"temperature": 0.0, "ignore_eos": True}


@dataclass(frozen=True)
class Case:
    """A request. `soft` holds keys of `soft_thinking`; None: a discrete request."""

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
    Case("soft, limit", "sum", SOFT | {"max_thinking_tokens": 12}),
    Case("soft, limit 0", "chat", SOFT | {"max_thinking_tokens": 0}, max_new_tokens=16),
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
    Case("discrete", "sum", None),
    Case("discrete, long", "long", None),
    Case("discrete, plain", "plain", None),
)


def sampling_params(case: Case, **soft) -> dict:
    params = ANSWER | {"max_new_tokens": case.max_new_tokens}
    if case.seed is not None:
        params["sampling_seed"] = case.seed
    if case.soft is not None:
        given = {"return_concepts": True} | case.soft | soft
        if case.prompt == "digits":  # raw text whose last block does not begin an assistant's turn
            given["thinking_start"] = "now"
        params["custom_params"] = {"soft_thinking": given}
    return params


def by_name(name: str) -> Case:
    (case,) = (c for c in CASES if c.name == name)
    return case
