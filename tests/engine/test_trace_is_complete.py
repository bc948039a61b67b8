"""From what a client receives with `return_concepts`, and the model's embedding table, everything
that the model was fed can be built again, and the state in which a continuation would start."""

import json

import pytest
import torch
from sglang_soft_kernels.layout import Phase

from sglang_soft.engine.request import ThinkingState
from sglang_soft.methods import names
from sglang_soft.trace import Trace
from tests.conftest import on
from tests.engine.asking import compare_all, expected, observed, prompt_ids
from tests.engine.cases import CASES, sampling_params
from tests.engine.method_cases import METHOD_CASES
from tests.engine.setups import SMALL
from tests.oracle import Trace as OracleTrace
from tests.oracle import compare

SOFT = [case for case in (*METHOD_CASES, *CASES) if case.soft is not None]


def received(engine, cases) -> list[Trace]:
    """The traces of a batch, through JSON and back."""
    outs = compare_all(engine, cases)
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
        rows.append(mixture if concept.offset is None else mixture + torch.tensor(concept.offset))
    return torch.stack(rows)


def assert_continues(state: ThinkingState, oracle: OracleTrace) -> None:
    """A request that started in `state` would go on as the oracle does."""
    if oracle.first_step is None:
        assert state.phase == Phase.WAIT
    else:
        still_thinks = oracle.ended in ("length", "stop")
        assert state.phase == (Phase.THINK if still_thinks else Phase.ANSWER)
        assert state.method_state.tolist() == pytest.approx(oracle.method_state, abs=1e-4)
    assert state.think_step == oracle.thinking_tokens
    assert state.low_entropy_steps == oracle.low


@on("default", "retract-no-radix")
def test_every_input_and_the_state_of_a_continuation_are_in_the_trace(engine):
    table = engine.hf_model.get_input_embeddings().weight.detach()
    methods, phases, counts = set(), set(), set()
    for at in range(0, len(SOFT), SMALL["max_running_requests"]):
        cases = SOFT[at : at + SMALL["max_running_requests"]]
        for case, trace in zip(cases, received(engine, cases), strict=True):
            oracle = expected(engine, case)
            assert trace.prompt_ids.tolist() == prompt_ids(engine, case), case.name
            assert trace.output_ids.tolist() == oracle.output_ids, case.name
            fed = torch.stack(oracle.fed)
            torch.testing.assert_close(
                inputs_of(trace, table), fed, atol=1e-4, rtol=1e-4, msg=case.name
            )
            state = ThinkingState.of(trace)
            assert_continues(state, oracle)
            methods.add(trace.method)
            phases.add(state.phase)
            counts.add(state.low_entropy_steps)
    assert methods == set(names()) and phases == {Phase.WAIT, Phase.THINK, Phase.ANSWER}
    assert len(counts) > 2, "no Cold Stop count to continue"


@on("default", "no-overlap")
@pytest.mark.parametrize("name", ["coconut_tf, limit", "swireasoning, ends it"])
def test_a_streams_chunks_are_the_whole_trace(engine, name):
    (case,) = (case for case in METHOD_CASES if case.name == name)
    (whole,) = received(engine, [case])
    chunks = engine.stream(prompt_ids(engine, case), sampling_params(case))
    parts = [c["meta_info"].get("soft_thinking", {}).get("trace") for c in chunks]
    assert sum(bool(part) for part in parts) > 2, "the trace came in one chunk"
    joined = Trace.from_json(part for part in parts if part)
    soft = chunks[-1]["meta_info"]["soft_thinking"]
    last = chunks[-1] | {
        "meta_info": chunks[-1]["meta_info"] | {"soft_thinking": soft | {"trace": joined.to_json()}}
    }
    compare(observed(last), expected(engine, case))
    columns = {"weights", "entropy", "embedding_offsets", "method_state", "states"}
    header = {"retractions"}
    one, other = joined.to_json(), whole.to_json()
    same = one.keys() - columns - header
    assert {key: one[key] for key in same} == {key: other[key] for key in same}
    assert joined.model and joined.versions and joined.tokenizer
