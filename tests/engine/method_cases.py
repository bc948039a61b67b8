"""Requests of the method tests: each method, with every parameter given, and each of its
branches."""

from tests.engine.cases import COLD, SOFT, Case


def case(
    name: str, method: str, prompt: str, seed: int | None = None, tokens: int = 48, **soft
) -> Case:
    return Case(
        f"{method}, {name}", prompt, SOFT | {"method": method, "max_topk": 10} | soft, tokens, seed
    )


SWI = {"swi_window": 2, "swi_alpha": 0.6, "swi_beta": 0.7, "swi_first_share": 0.9}
AUTHORS = {"swi_blend": "mixture", "swi_token": "drawn"}
OTHERS = {"swi_blend": "drawn", "swi_token": "top", "swi_alone": "none"}
"""The other choice of every parameter."""
GATES = {"swi_latent_above": 1.5, "swi_explicit_below": 0.7}
LATER = {"later_entropy": 20.0, "later_stop": "text"}
SELAR = {"selar_contrast": 1.0, "selar_token": "top", "selar_alone": "none"}

METHOD_CASES: tuple[Case, ...] = (
    case("plain", "soft", "sum"),
    case("plain", "cot", "sum", 1),
    case("whole vocabulary", "cot", "chat", -5, top_k=-1, top_p=1.0, min_p=0.0, temperature=1.0),
    case("cold stop", "cot", "digits", 2, **COLD),
    case("greedy", "cot", "again", 3, temperature=0.0),
    case("plain", "soft_gumbel", "sum", 4, gumbel_temperature=0.5),
    case("cold stop", "soft_gumbel", "digits", 2**52 + 3, gumbel_temperature=0.9, **COLD),
    case("plain", "soft_dirichlet", "long", 5, dirichlet_gamma=4.0),
    case(
        "limit",
        "soft_dirichlet",
        "chat",
        6,
        dirichlet_gamma=0.5,
        max_thinking_tokens=9,
    ),
    case("plain", "moi", "sum", 7, moi_beta=1.0, max_topk=20),
    case("greedy", "moi", "again", 8, moi_beta=2.0, temperature=0.0),
    case(
        "mean",
        "multiplex",
        "sum",
        9,
        multiplex_weighting="mean",
        multiplex_token="largest",
        max_topk=3,
        temperature=0.3,
    ),
    case(
        "prob",
        "multiplex",
        "chat",
        10,
        multiplex_weighting="prob",
        multiplex_token="first",
        max_topk=5,
        top_k=-1,
    ),
    case("plain", "average", "tiny", max_topk=5),
    case("both ways", "thinkrouter", "sum", 11, router_threshold=0.12),
    case("both ways", "selar", "sum", 12, selar_threshold=0.9, max_topk=3, **SELAR),
    case(
        "math tokens",
        "selar",
        "chat",
        18,
        selar_threshold=0.3,
        selar_contrast=0.25,
        selar_alone="math",
        selar_token="drawn",
        max_topk=4,
    ),
    # Short: pushing away from the most probable token makes rounding errors grow with every step.
    case(
        "negative weights",
        "selar",
        "digits",
        13,
        12,
        selar_threshold=0.2,
        max_topk=4,
        temperature=1.2,
        **(SELAR | {"selar_token": "drawn"}),
    ),
    case("switches", "swireasoning", "sum", 14, **SWI, **OTHERS),
    case("ends it", "swireasoning", "long", 15, **SWI, **OTHERS, swi_max_switches=3),
    case(
        "as its authors",
        "swireasoning",
        "again",
        14,
        **SWI,
        **AUTHORS,
        swi_alone="none",
        swi_first_token=100,
        max_topk=3,
    ),
    case(
        "math tokens",
        "swireasoning",
        "chat",
        19,
        **SWI,
        **AUTHORS,
        swi_alone="math",
        swi_max_switches=4,
    ),
    # Short, and so is the realigned one below: rounding errors grow with every step.
    case("gates of LEAD", "swireasoning", "long", 14, 11, **SWI, **OTHERS, **GATES),
    case("plain", "soft_noise", "sum", 16, noise_scale=0.33),
    case("greedy", "soft_noise", "chat", 17, noise_scale=0.1, temperature=0.0),
    case("plain", "coconut_tf", "sum"),
    case("limit", "coconut_tf", "chat", max_thinking_tokens=7),
    case("plain", "latent_mas", "sum", latent_realign=False),
    case("realigned", "latent_mas", "long", tokens=8, latent_realign=True),
    case("its tokens", "later", "sum", 20, **LATER, later_tokens=9),
    case("unsure", "later", "again", 21, **(LATER | {"later_entropy": 3.0}), later_tokens=40),
    Case("discrete next to them", "sum", None),
)
"""No more than an engine under test runs at once: a batch of all of them is one batch."""
