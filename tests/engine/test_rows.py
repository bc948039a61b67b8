"""Rows of the concept pool are handed from request to request; nothing of the last owner may be
left in them."""

from tests.conftest import on
from tests.engine import inside
from tests.engine.asking import ask, expected, observed, prompt_ids
from tests.engine.cases import CASES, Case, by_name, sampling_params
from tests.oracle import compare

SOFT, DISCRETE = by_name("soft, long prompt"), by_name("discrete, long")


def request(engine, case: Case, **sampling) -> dict:
    return {
        "input_ids": prompt_ids(engine, case),
        "sampling_params": sampling_params(case) | sampling,
    }


@on("default", "no-overlap")
def test_a_discrete_request_in_a_row_that_ended_while_thinking(engine):
    """The soft request leaves weights and the thinking phase in its row. The discrete one is
    prefilled alone, in a batch that the plugin does not touch, and is then joined by a soft
    request, in a batch whose decode steps read the pool."""
    engine.flush()
    requests = request(engine, SOFT, max_new_tokens=5), request(engine, DISCRETE)
    ended, discrete, joining = engine.run(inside.in_turn, *requests, request(engine, SOFT))
    assert ended["meta_info"]["soft_thinking"]["thinking_finish_reason"] == "length", (
        "the row was not left while thinking"
    )
    compare(observed(discrete), expected(engine, DISCRETE))
    compare(observed(joining), expected(engine, SOFT))


@on("default", "retract")
def test_many_requests_through_few_rows(engine):
    """More requests than rows, soft and discrete in turn, so that every row changes its owner
    several times."""
    cases = [case for case in CASES for _ in range(3)]
    for case, out in zip(cases, ask(engine, cases), strict=True):
        compare(observed(out), expected(engine, case))


@on("default", "no-overlap")
def test_a_soft_request_that_is_aborted_while_thinking(engine):
    long = request(engine, SOFT, max_new_tokens=400)
    last = engine.run(inside.abort_after_tokens, 5, True, **long)
    assert last["meta_info"]["finish_reason"]["type"] == "abort"
    assert last["meta_info"]["soft_thinking"]["thinking_finish_reason"] == "abort"
    (out,) = ask(engine, [SOFT])
    compare(observed(out), expected(engine, SOFT))
