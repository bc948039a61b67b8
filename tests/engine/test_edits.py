"""An edited thought goes on from what was put into it, as a plain loop with the same inputs does."""

import torch

from sglang_soft.trace import Trace
from tests.conftest import on
from tests.engine.asking import ask, oracle_request, prompt_ids
from tests.engine.cases import Case
from tests.engine.method_cases import METHOD_CASES
from tests.engine.test_continue import go_on, greedy_answer, trace_of
from tests.engine.under_test import EngineUnderTest
from tests.oracle.embed import embed_mixture, embed_tokens
from tests.oracle.thinking import Thinking

METHODS = ("soft", "cot", "soft_gumbel", "soft_dirichlet", "moi", "soft_noise")
CASES = [next(c for c in METHOD_CASES if c.name.startswith(f"{m}, plain")) for m in METHODS]
STEPS = 5


def steps_after(engine: EngineUnderTest, case: Case, trace: Trace) -> list[tuple[int, dict, float]]:
    """Output token, weights by id and entropy of the next thinking steps, from the definitions."""
    model, thinking = engine.hf_model, Thinking(oracle_request(engine, case), engine.hf_model)
    thinking.position, end = len(trace.steps), engine.token_id("</think>")
    fed = embed_tokens(model, [*trace.prompt_ids.tolist(), *trace.output_ids.tolist()])
    assert trace.start is not None
    for step in range(trace.thinking_tokens):
        concept = trace.concept(step)
        offset = None if concept.offset is None else torch.tensor(concept.offset)
        row = embed_mixture(model, concept.ids.tolist(), concept.weights.tolist(), offset)
        fed[trace.start + step] = row
    found: list[tuple[int, dict, float]] = []
    with torch.inference_mode():
        out = model(inputs_embeds=fed[None], use_cache=True)
        while len(found) < STEPS:
            step = thinking.step(out.logits[0, -1])
            if step.token == end:
                break
            weights = dict(zip(step.ids, step.weights, strict=True))
            found.append((step.token, weights, float(step.entropy)))
            row = embed_mixture(model, step.ids, step.weights, step.offset)
            out = model(inputs_embeds=row[None], past_key_values=out.past_key_values)
    return found


def edits(trace: Trace, other: Trace) -> dict[str, Trace]:
    """Each edit once, in the middle of the thought."""
    step = trace.thinking_tokens // 2
    edit, candidates = trace.edit, trace.concept(step).ids.tolist()
    found = {
        "sharpen": edit.sharpen(step, 0.3),
        "replace": edit.replace(step, [40, 41, 42], [0.5, 0.3, 0.2]),
        "insert": edit.insert(step, [43, 44], [0.75, 0.25], token=45),
        "splice": edit.splice(step, other, 1, 5),
        "cut": edit.cut(step),
        "replace, twice": edit.replace(step, [46]).edit.replace(1, [47], keep_rest=True),
    }
    if len(candidates) > 1:
        found["remove"] = edit.remove(step, candidates[0])
        found["remove, keep"] = edit.remove(1, int(trace.concept(1).ids[0]), keep_rest=True).cut(
            step
        )
    return found


@on("default", "retract")
def test_an_edited_thought_goes_on_as_a_loop_with_its_inputs(engine: EngineUnderTest):
    traces = [trace_of(out) for out in ask(engine, CASES)]
    assert [trace.method for trace in traces] == [*METHODS]
    problems, edited_ones, changed = [], 0, 0
    for case, trace in zip(CASES, traces, strict=True):
        of = edits(trace, traces[CASES.index(case) - 1])
        prompts = [prompt_ids(engine, case)] * len(of)
        params = [go_on(case, edited, "next") | {"max_new_tokens": STEPS} for edited in of.values()]
        for (name, edited), out in zip(of.items(), engine.generate(prompts, params), strict=True):
            whole, count = trace_of(out), len(edited.steps)
            edited_ones += sum(bool(s.get("edited")) for s in whole.segments)
            assert whole.segments[: len(edited.segments)] == edited.segments
            wanted = steps_after(engine, case, edited)
            changed += wanted[0][:2] != (
                int(trace.output_ids[trace.start - len(trace.prompt_ids) + count]),
                by_id(trace, count),
            )
            for at, (token, weights, entropy) in enumerate(wanted):
                step, ours = count + at, by_id(whole, count + at)
                apart = max(abs(ours.get(i, 0) - weights.get(i, 0)) for i in ours | weights)
                emitted = int(whole.output_ids[whole.start - len(whole.prompt_ids) + step])
                close = apart < 1e-4 and abs(whole.entropy[step] - entropy) < 1e-3
                if emitted != token or not close:
                    problems.append(f"{case.name}, {name}, step {step}: {ours} {weights}")
                    break
            assert wanted or name != "cut"
    assert not problems, "\n".join(problems)
    assert edited_ones > 5 * len(CASES) and changed > 5 * len(CASES)


def by_id(trace: Trace, step: int) -> dict[int, float]:
    if step >= len(trace.steps):
        return {}
    found: dict[int, float] = {}
    for i, weight in zip(*trace.concept(step)[:2], strict=True):
        found[int(i)] = found.get(int(i), 0.0) + float(weight)
    return found


@on("default")
def test_the_answer_of_an_edited_thought(engine: EngineUnderTest):
    """With and without the steps after the edited one."""
    (case, *_), (trace, other, *_) = CASES, [trace_of(out) for out in ask(engine, CASES)]
    of = edits(trace, other)
    assert "remove, keep" in of
    of["remove, keep"] = trace.edit.remove(1, int(trace.concept(1).ids[0]), keep_rest=True)
    params = [go_on(case, edited, "answer") | {"max_new_tokens": 6} for edited in of.values()]
    outs = engine.generate([prompt_ids(engine, case)] * len(of), params)
    end, answers = engine.token_id("</think>"), []
    for (name, edited), out in zip(of.items(), outs, strict=True):
        answers.append(greedy_answer(engine, edited.cut(edited.thinking_tokens), [end], 6))
        assert out["output_ids"] == answers[-1], name
    assert len({tuple(answer) for answer in answers}) > 2, "edits that change nothing"
