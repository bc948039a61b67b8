"""What a request does to its neighbours: nothing."""

from tests.conftest import on
from tests.engine import inside
from tests.engine.asking import compare_all, expected, observed, prompt_ids
from tests.engine.cases import CASES, by_name, sampling_params
from tests.engine.method_cases import METHOD_CASES
from tests.issue_table import row
from tests.oracle import compare

SOFT = [case for case in CASES if case.soft is not None][:6]
OTHERS = [
    c for c in METHOD_CASES if c.name in ("cot, plain", "soft_gumbel, plain", "coconut_tf, plain")
]
"""Methods that draw, and one that reads hidden states."""
BEAM = {"beam_width": 3, "max_new_tokens": 24, "temperature": 0.0, "ignore_eos": True}


@on("default", "no-overlap")
@row(
    "A2",
    "a discrete beam search next to a soft request",
    "the server died",
    "both equal what they are alone",
)
def test_a_beam_search_next_to_soft_requests(engine):
    """Its members are rows of the batch after those of the requests."""
    cases = [*SOFT, *OTHERS]
    assert len(OTHERS) == 3
    compare_all(engine, cases)  # leaves rows of soft requests for the members
    prompt = prompt_ids(engine, by_name("discrete, long"))
    alone = engine.generate([prompt], [BEAM])[0]
    prompts = [prompt, *(prompt_ids(engine, case) for case in cases), prompt]
    sampling = [BEAM, *(sampling_params(case) for case in cases), BEAM]
    first, *soft, last = engine.generate(prompts, sampling)
    for case, out in zip(cases, soft, strict=True):
        compare(observed(out), expected(engine, case))
    for out in (first, last):
        assert out["output_ids"] == alone["output_ids"], (out, alone)


@on("default")
@row(
    "B12",
    "/generate with a grammar, no reasoning parser",
    "the grammar bound the thought, the answer was empty",
    "HTTP 400",
)
def test_a_grammar_without_a_reasoning_parser_is_refused(engine):
    """It would bind the thought: nothing tells SGLang where that ends."""
    case = by_name("soft, chat")
    sampling = sampling_params(case) | {"regex": "[0-9]+"}
    refused = engine.run(
        inside.error_of, input_ids=prompt_ids(engine, case), sampling_params=sampling
    )
    assert "regex would bind the thought" in refused and "--reasoning-parser" in refused
