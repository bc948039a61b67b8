"""Requests of the stopping-rule tests: every rule with several methods. Each ends by its rule."""

from tests.engine.cases import Case
from tests.engine.method_cases import case

METHODS = {
    "soft": {},
    "cot": {},
    "soft_gumbel": {"gumbel_temperature": 0.5},
    "multiplex": {"multiplex_weighting": "mean", "multiplex_token": "first", "max_topk": 3},
}
RCPD = {"rule": "rcpd", "at": "clause", "rank": 5, "low_rank": 20, "low_count": 3, "mid_rank": 50,
        "mid_count": 6}  # fmt: skip
LEASH = {
    "rule": "leash", "window": 4, "votes": 3, "entropy_slope": 0.05, "margin_gain": 0.5,
    "min_tokens": 8, "warm_up": 2, "entropy_drop": 0.1, "saturation": 0.95, "max_tokens": 40,
}  # fmt: skip
RULES = {
    "cold_stop": {"rule": "cold_stop", "entropy": 1.0, "steps": 3},
    "budget": {"rule": "budget", "tokens": 14},
    "rcpd": RCPD,
    # Not the first boundary: ranks of earlier ones count.
    "rcpd, history": RCPD | {"rank": 1, "low_rank": 60, "low_count": 2, "mid_rank": 1},
    "thinkbrake": {"rule": "thinkbrake", "at": "clause", "margin": 8.0},
    "think_end_boost": {"rule": "think_end_boost", "boost": 0.3},
    "leash": LEASH,
}
REASONS = {"cold_stop": "cold_stop", "budget": "max_thinking_tokens",
           "think_end_boost": "stop_token"}  # fmt: skip
"""Why a thought ends that such a rule ended; another rule: stop_rule."""
PROMPTS: dict[tuple[str, str], str] = {
    ("cold_stop", "soft"): "digits",
    ("cold_stop", "cot"): "digits",
    ("cold_stop", "soft_gumbel"): "digits",
    ("cold_stop", "multiplex"): "digits",
    ("budget", "multiplex"): "long",
    ("rcpd", "soft"): "long",
    ("rcpd", "multiplex"): "long",
    ("rcpd", "soft_gumbel"): "chat",
    ("rcpd, history", "soft"): "long",
    ("rcpd, history", "cot"): "long",
    ("rcpd, history", "multiplex"): "long",
    ("thinkbrake", "soft"): "long",
    ("thinkbrake", "multiplex"): "long",
    ("thinkbrake", "soft_gumbel"): "chat",
    ("think_end_boost", "soft"): "long",
    ("think_end_boost", "cot"): "chat",
    ("think_end_boost", "soft_gumbel"): "chat",
    ("think_end_boost", "multiplex"): "long",
    ("leash", "cot"): "chat",
    ("leash", "soft_gumbel"): "long",
    ("leash", "multiplex"): "chat",
}
"""Of rule and method; others: "sum". Where the rule ends the thought, and not at once."""
STOP_CASES: tuple[Case, ...] = tuple(
    case(rule, method, PROMPTS.get((rule, method), "sum"), 3, 48, stop=stop, **own)
    for rule, stop in RULES.items()
    for method, own in METHODS.items()
)
NEIGHBOURS = (Case("discrete", "sum", None), Case("discrete, long", "long", None))
"""28 and 2: no more than an engine under test runs at once."""
WITH_STATE = [c for c in STOP_CASES if "rcpd, history" in c.name or "leash" in c.name]


def rule_of(case_: Case) -> str:
    return case_.soft["stop"]["rule"]


def reason_of(case_: Case) -> str:
    return REASONS.get(rule_of(case_), "stop_rule")
