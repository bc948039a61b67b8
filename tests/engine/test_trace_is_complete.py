"""From what a client receives with `return_concepts`, and the model's embedding table, everything
that the model was fed can be built again, and the state in which a continuation would start."""

import json

import pytest
import torch
from sglang_soft_kernels.layout import Phase

from sglang_soft.engine.request import ThinkingState
from sglang_soft.trace import Trace
from tests.conftest import on
from tests.engine.cases import CASES, expected, observed, prompt_ids, sampling_params
from tests.engine.method_cases import METHOD_CASES
from tests.oracle import compare

SOFT = [case for case in (*METHOD_CASES, *CASES) if case.soft is not None]


def received(engine, cases) -> list[Trace]:
    """The traces of a batch, through JSON and back."""
    engine.flush()
    prompts = [prompt_ids(engine, case) for case in cases]
    outs = engine.generate(prompts, [sampling_params(case) for case in cases])
    for out, case in zip(outs, cases, strict=True):
        compare(observed(out), expected(engine, case))
    texts = [json.dumps(out["meta_info"]["soft_thinking"]["trace"]) for out in outs]
    return [Trace.from_json(json.loads(text)) for text in texts]


def inputs_of(trace: Trace, table: torch.Tensor) -> torch.Tensor:
    """[N, hidden]: the input embedding at the position of each output token, from the trace."""
    concepts = trace.concept_positions(0, len(trace.prompt_ids) + len(trace.output_ids))
    rows = []
    for position, token in enumerate(trace.output_ids, len(trace.prompt_ids)):
        if position not in concepts:
            rows.append(table[token])
            continue
        concept = trace.concept(position - trace.start)
        weights, ids = torch.tensor(concept.weights), torch.tensor(concept.ids, dtype=torch.long)
        mixture = weights @ table[ids] if len(ids) else torch.zeros(table.shape[1])
        offset = 0 if concept.offset is None else torch.tensor(concept.offset)
        rows.append(mixture + offset)
    return torch.stack(rows)


@on("default", "retract-no-radix")
def test_every_input_and_the_state_of_a_continuation_are_in_the_trace(engine):
    table = engine.hf_model.get_input_embeddings().weight.detach()
    methods, phases = set(), set()
    for at in range(0, len(SOFT), 24):  # no more at once than the engine runs
        cases = SOFT[at : at + 24]
        for case, trace in zip(cases, received(engine, cases), strict=True):
            oracle = expected(engine, case)
            assert trace.prompt_ids.tolist() == prompt_ids(engine, case), case.name
            assert trace.output_ids.tolist() == oracle.output_ids, case.name
            got, want = inputs_of(trace, table), torch.stack(oracle.fed)
            torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-4, msg=case.name)

            state = ThinkingState.of(trace)
            thought = oracle.first_step is not None
            ended = oracle.ended in ("stop_token", "method", "cold_stop", "max_thinking_tokens")
            assert state.phase == (
                (Phase.ANSWER if ended else Phase.THINK) if thought else Phase.WAIT
            ), case.name
            assert state.think_step == oracle.thinking_tokens, case.name
            if case.soft.get("cold_stop_entropy"):
                assert state.low_entropy_steps == oracle.low, case.name
            if thought:
                wanted = pytest.approx(oracle.method_state, abs=1e-4)
                assert state.method_state.tolist() == wanted, case.name
            methods.add(trace.method)
            phases.add(state.phase)
    assert len(methods) == 12 and phases == {Phase.WAIT, Phase.THINK, Phase.ANSWER}


@on("default")
def test_a_streams_chunks_are_the_whole_trace(engine):
    case = next(c for c in METHOD_CASES if c.name == "coconut_tf, bound")
    (whole,) = received(engine, [case])
    prompt, params = prompt_ids(engine, case), sampling_params(case)
    chunks = engine.engine.generate(input_ids=prompt, sampling_params=params, stream=True)
    parts = [c["meta_info"].get("soft_thinking", {}).get("trace") for c in chunks]
    assert sum(part is not None for part in parts) > 2, "the trace came in one chunk"
    joined = Trace.from_json(part for part in parts if part)
    assert joined.output_ids.tolist() == whole.output_ids.tolist()
    assert joined.ids.tolist() == whole.ids.tolist() and len(joined.steps) == len(whole.steps)
    assert joined.versions == whole.versions and joined.model == whole.model != {}


@on("default")
def test_one_soft_request_among_many_discrete_ones(engine):
    """Only its row is computed, and it is as if it were alone."""
    discrete = [c for c in CASES if c.soft is None]
    soft = next(c for c in CASES if c.name == "soft, long prompt")
    cases = [*discrete * 4, soft, *discrete * 3]
    engine.flush()
    outs = engine.generate(
        [prompt_ids(engine, c) for c in cases], [sampling_params(c) for c in cases]
    )
    for case, out in zip(cases, outs, strict=True):
        compare(observed(out), expected(engine, case))
