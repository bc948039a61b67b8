"""Rows of the concept pool are handed from request to request; nothing of the last owner may be
left in them."""

import asyncio

from tests.conftest import on
from tests.engine.cases import CASES, expected, observed, prompt_ids, sampling_params
from tests.oracle import compare

SOFT = next(c for c in CASES if c.name == "soft, long prompt")
HARD = next(c for c in CASES if c.name == "hard, long")


@on("default", "no-overlap")
def test_a_hard_request_in_a_row_that_ended_while_thinking(engine):
    """The soft request leaves weights and the thinking phase behind. The hard one is prefilled
    alone, in a batch that the plugin does not touch, and is then joined by a soft request, in a
    batch whose decode steps read the pool."""

    async def scenario() -> dict:
        ask = engine.engine.async_generate
        soft_prompt, hard_prompt = prompt_ids(engine, SOFT), prompt_ids(engine, HARD)
        short = sampling_params(SOFT) | {"max_new_tokens": 5}
        ended = await ask(input_ids=soft_prompt, sampling_params=short)
        assert ended["meta_info"]["soft_thinking"]["thinking_finish_reason"] == "length", (
            "the row was not left while thinking"
        )
        hard = await ask(input_ids=hard_prompt, sampling_params=sampling_params(HARD), stream=True)
        last = await anext(hard)
        joining = asyncio.create_task(
            ask(input_ids=soft_prompt, sampling_params=sampling_params(SOFT))
        )
        async for chunk in hard:
            last = chunk
        compare(observed(await joining), expected(engine, SOFT))
        return last

    engine.flush()
    last = engine.engine.loop.run_until_complete(scenario())
    compare(observed(last), expected(engine, HARD))


@on("default", "retract")
def test_many_requests_through_few_rows(engine):
    """More requests than rows, soft and hard in turn, so that every row changes its owner several
    times."""
    cases = [c for c in CASES for _ in range(3)]
    outs = engine.generate(
        [prompt_ids(engine, c) for c in cases], [sampling_params(c) for c in cases]
    )
    for case, out in zip(cases, outs):
        compare(observed(out), expected(engine, case))


@on("default", "no-overlap")
def test_a_soft_request_that_is_aborted_while_thinking(engine):
    async def scenario() -> dict:
        ask = engine.engine.async_generate
        params = sampling_params(SOFT) | {"max_new_tokens": 2000}
        stream = await ask(
            input_ids=prompt_ids(engine, SOFT), sampling_params=params, stream=True, rid="aborted"
        )
        last = await anext(stream)
        engine.engine.tokenizer_manager.abort_request(rid="aborted")
        async for chunk in stream:
            last = chunk
        return last

    last = engine.engine.loop.run_until_complete(scenario())
    assert last["meta_info"]["finish_reason"]["type"] == "abort"
    assert last["meta_info"]["soft_thinking"]["thinking_finish_reason"] == "abort"
    (out,) = engine.generate([prompt_ids(engine, SOFT)], [sampling_params(SOFT)])
    compare(observed(out), expected(engine, SOFT))
