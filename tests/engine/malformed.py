"""Malformed `soft_thinking` values, each with the word that its error has to name."""

from typing import Any

_COMMON: dict[str, list] = {
    "max_topk": [0, -1, 33, 10**9, 2.5, "10", True, [10]],
    "temperature": [-0.1, "hot", True, [0.5]],
    "top_p": [0, 1.01, -1, "0.9"],
    "top_k": [0, -2, 1.5, "30"],
    "min_p": [-0.01, 1.5, False],
    "answer_temperature": [-1],
    "answer_top_p": [2],
    "answer_top_k": [0],
    "answer_min_p": [2],
    "after_thinking_temperature": [-1],
    "cold_stop_entropy": [-0.1, "low"],
    "early_stopping_entropy_threshold": [-1],
    "cold_stop_steps": [0, 1.5],
    "early_stopping_length_threshold": [0],
    "max_thinking_tokens": [-1, "many"],
    "return_concepts": [1, "yes"],
    "method": ["magic", 1, ["soft"]],
    # a key of a method that is not the one asked for
    "gumbel_temperature": [0.5],
    "noise_scale": [0.1],
    # no key at all
    "max_top_k": [10],
    "": [1],
}
_OF_METHODS: list[tuple[str, str, list]] = [
    ("soft_gumbel", "gumbel_temperature", [-1, 0, "cold"]),
    ("soft_dirichlet", "dirichlet_gamma", [0, True]),
    ("soft_dirichlet", "dirichlet_alpha", [-1]),
    ("moi", "moi_beta", ["1", -0.5]),
    ("multiplex", "multiplex_weighting", ["max", 1]),
    ("swireasoning", "swi_window", [-1, 0.5]),
    ("swireasoning", "swi_alpha", [2]),
    ("swireasoning", "swi_beta", [-0.1]),
    ("swireasoning", "swi_max_switches", [0]),
    ("swireasoning", "swi_first_token", [-1]),
    ("swireasoning", "swi_alone", ["digits"]),
    ("swireasoning", "max_topk", [32]),
    ("selar", "selar_threshold", [1.1]),
    ("selar", "selar_contrast", [-1]),
    ("selar", "selar_token", ["y"]),
    ("thinkrouter", "router_threshold", [True, -1]),
    ("soft_noise", "noise_scale", [-0.1]),
    ("cot", "noise_scale", [0.1]),
]

MALFORMED: list[tuple[Any, str]] = [
    *(({key: value}, key or "''") for key, values in _COMMON.items() for value in values),
    *(
        ({"method": method, key: value}, key)
        for method, key, values in _OF_METHODS
        for value in values
    ),
    ({"answer_top_p": 0.5, "after_thinking_top_p": 0.5}, "answer_top_p"),
    ("yes", "soft_thinking"),
    (1, "soft_thinking"),
    ([], "soft_thinking"),
]
