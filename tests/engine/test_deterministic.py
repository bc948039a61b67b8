"""`--enable-deterministic-inference` on a CPU: a request has the same bits whatever SGLang does to it
and whoever is in its batch.

Two engines a model: one that leaves requests alone, and one that cuts prompts into chunks, mixes
them with decodes, and retracts. Compared bit for bit: output tokens, ids, weights and entropy of
every step.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from launch import real_model
from launch.exact.company import Answer, compare
from sglang_soft.methods.noise import sample_seed
from sglang_soft.trace import Trace
from sglang_soft.verify import verify
from sglang_soft.verify.reference_hf import HuggingFace
from tests.engine import inside
from tests.engine.asking import prompt_ids
from tests.engine.cases import Case, by_name, sampling_params
from tests.engine.method_cases import METHOD_CASES
from tests.engine.setups import RETRACT, Setup
from tests.engine.under_test import EngineDied, EngineUnderTest
from tests.models import tiny

FULL = pytest.mark.full
ON = {"enable_deterministic_inference": True, "random_seed": 1}
HARD = ON | {"chunked_prefill_size": 8, "enable_mixed_chunk": True}
FAMILIES = (
    "qwen3", *(pytest.param(name, marks=FULL) for name in ("qwen2", "llama", "gemma", "qwen3_moe"))
)  # fmt: skip
ALIKE = [
    *(by_name(name) for name in ("soft", "soft, long prompt", "soft, chat", "soft, cold stop")),
    *(by_name(name) for name in ("discrete", "discrete, long", "opens its own block")),
    *METHOD_CASES,
]
QUESTIONS = (
    "What is 43*34?", "Why is the sky blue?", "Name three rivers.", "Is 91 a prime?",
    "A train leaves at noon at 40 km/h. When has it gone 100 km?",
)  # fmt: skip
THOUGHT = {"thinking_start": "now", "temperature": 0.6, "top_p": 0.95, "top_k": 30}


def real_cases(steps: int) -> list[Case]:
    first, *more = QUESTIONS
    return [
        Case("soft", first, THOUGHT, steps),
        Case("discrete", more[0], None, steps),
        Case("gumbel", more[1], THOUGHT | {"method": "soft_gumbel"}, steps, seed=1),
        Case("soft, ends", more[2], THOUGHT | {"max_thinking_tokens": steps // 3}, steps),
        Case("soft, 8 bits", more[3], THOUGHT | {"weight_bits": 8}, steps),
    ]


def pretrained() -> Path:
    try:
        return real_model.path()
    except RuntimeError as error:  # no package index
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def engines(tmp_path_factory, model_dir):
    """(family, arguments, environment) -> a running engine; one at a time."""
    running: list[EngineUnderTest] = []

    def start(family: str, args: dict, env: dict | None = None) -> EngineUnderTest:
        while running:
            running.pop().shutdown()
        path = pretrained() if family == "smollm2" else tiny.build(family, model_dir)
        log = tmp_path_factory.mktemp("engine") / "log"
        running.append(EngineUnderTest(Setup(family, args, env or {}), path, log))
        return running[-1]

    yield start
    while running:
        running.pop().shutdown()


def chat_prompt(engine: EngineUnderTest, case: Case) -> list[int]:
    """The case's prompt as a question to a chat model."""
    messages = [{"role": "user", "content": case.prompt}]
    return engine.tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_dict=True
    )["input_ids"]


def ask(engine: EngineUnderTest, cases: list[Case], prompt: Callable) -> list[dict]:
    prompts = [prompt(engine, case) for case in cases]
    return engine.generate(prompts, [sampling_params(case) for case in cases])


def continued(engine: EngineUnderTest, cases: list[Case], outs: list[dict]) -> list[dict]:
    """Each thought is cut at a place of its own and goes on; the whole, as if it had not stopped.
    Discrete answers stay as they are."""
    requests = {}
    for at, (case, out) in enumerate(zip(cases, outs, strict=True)):
        trace = out["meta_info"].get("soft_thinking", {}).get("trace")
        if trace and trace["ids"]:
            steps = (at + 1) * len(trace["ids"]) // (len(cases) + 1)
            place = {"trace": trace, "at": "next", "cut": steps}
            params = sampling_params(case, **place)
            done = trace["start"] - len(trace["prompt_ids"]) + steps
            requests[at] = params | {"max_new_tokens": case.max_new_tokens - done}
    answers = engine.generate([[] for _ in requests], list(requests.values()))
    found = list(outs)
    for at, out in zip(requests, answers, strict=True):
        soft = out["meta_info"]["soft_thinking"]
        assert soft["given"]["steps"] < len(soft["trace"]["ids"])
        found[at] = out | {"output_ids": soft["trace"]["output_ids"]}
    assert len(requests) > len(cases) // 2
    return found


def check(
    engines, family: str, cases: list[Case], alone: list[Case], prompt=prompt_ids,
    env: dict | None = None, **args,
) -> dict[str, list[dict]]:  # fmt: skip
    """alone: those that are asked alone first; the others are compared from the batch on. Returns
    the answers of each round."""
    env = env or {}
    engine = engines(family, ON | args, env)
    wanted = {}
    for case in alone:
        engine.flush()
        (out,) = ask(engine, [case], prompt)
        wanted[case.name] = Answer.of(out)
    engine.flush()
    rounds = {"in a batch": ask(engine, cases, prompt), "cached": ask(engine, cases, prompt)}
    assert sum(out["meta_info"]["cached_tokens"] for out in rounds["cached"]), "nothing was cached"
    hard = engines(family, HARD | args, RETRACT | env)
    rounds["cut and retracted"] = ask(hard, cases, prompt)
    retracted = [out["meta_info"]["num_retractions"] for out in rounds["cut and retracted"]]
    assert sum(retracted), "nothing was retracted"
    hard.flush()
    rounds["continued"] = continued(hard, cases, rounds["in a batch"])
    assert any(out["meta_info"]["num_retractions"] for out in rounds["continued"])
    late = engines(family, ON | args | {"disable_overlap_schedule": True}, env)
    rounds["without overlap"] = ask(late, cases[: len(cases) // 2], prompt)
    rounds["continued, cached"] = continued(late, cases, rounds["in a batch"])
    different = []
    for name, outs in rounds.items():
        for case, out in zip(cases, outs, strict=False):
            found = compare(Answer.of(out), wanted.setdefault(case.name, Answer.of(out)))
            if found.bit is not None:
                different.append(f"{case.name}, {name}: step {found.bit}")
    assert not different, "\n".join(different)
    return rounds


@pytest.mark.parametrize("family", FAMILIES)
def test_the_bits_of_a_request_do_not_depend_on_its_batch(engines, family):
    check(engines, family, ALIKE, [ALIKE[0], ALIKE[4], ALIKE[9]])


@pytest.mark.full
def test_in_bfloat16(engines):
    check(engines, "llama", ALIKE, [ALIKE[0], ALIKE[4], ALIKE[9]], dtype="bfloat16")


@pytest.mark.full
def test_with_two_ranks(engines):
    """Sums of two are the same in either order."""
    threads = {"SGLANG_CPU_OMP_THREADS_BIND": "0|1"}
    check(engines, "qwen3", ALIKE, [ALIKE[0], ALIKE[4]], env=threads, tp_size=2)


@pytest.mark.parametrize("steps", [48, pytest.param(220, marks=FULL)])
def test_of_a_pretrained_model(engines, steps):
    """A thought of such a model amplifies every rounding error: without the mode the bits part in
    the first steps. Each step, fed with the trace's own concept tokens, is what Hugging Face
    says."""
    cases = real_cases(steps)
    rounds = check(engines, "smollm2", cases, cases[: 1 if steps < 100 else 3], chat_prompt)
    if steps < 100:
        reference = HuggingFace(pretrained())
        for case, out in zip(cases, rounds["cut and retracted"], strict=True):
            if case.soft:
                report = verify(
                    Trace.from_json(out["meta_info"]["soft_thinking"]["trace"]), reference
                )
                assert report.sound and len(report.steps) > steps // 3, f"{case.name}: {report}"


DRAWN = {"temperature": 0.8, "max_new_tokens": 40, "ignore_eos": True}
SHORT_COT = {"method": "cot", "max_thinking_tokens": 9, "return_concepts": True}
SAMPLED = [
    DRAWN | {"sampling_seed": 7, "top_p": 0.95},
    DRAWN | {"sampling_seed": -3, "top_k": 20, "top_p": 0.9},
    DRAWN | {"top_k": 5, "presence_penalty": 0.5},
    DRAWN | {"sampling_seed": 2**50, "custom_params": {"soft_thinking": SHORT_COT}},
]


def bits(outs: list[dict]) -> list:
    return [Answer.of(out).bits for out in outs]


def test_sampled_tokens_do_not_depend_on_their_batch(engines):
    """SGLang samples with seeds in this mode. A discrete request that filters nothing is left out:
    SGLang draws it in another way when one next to it filters."""
    engine = engines("qwen3", ON)
    prompts = [prompt_ids(engine, by_name(name)) for name in ("soft", "soft, chat")] * 2
    alone = []
    for prompt, params in zip(prompts, SAMPLED, strict=True):
        engine.flush()
        alone += bits(engine.generate([prompt], [params]))
    engine.flush()
    together = engine.generate(prompts, SAMPLED)
    assert bits(together) == alone
    other = engine.generate([prompts[0]], [SAMPLED[0] | {"sampling_seed": 8}])
    assert bits(other) != alone[:1], "the seed has no effect"

    with_min_p = {"input_ids": [prompts[0]], "sampling_params": [SAMPLED[0] | {"min_p": 0.1}]}
    refused = engine.run(inside.error_of, **with_min_p)
    assert "min_p must be 0 with --enable-deterministic-inference" in refused
    assert bits(engine.generate([prompts[0]], [SAMPLED[0]])) == alone[:1]


def test_answers_of_one_thought_have_seeds_of_their_own(engines):
    """SGLang alone draws all n samples with one seed."""
    engine = engines("qwen3", ON)
    case = by_name("soft, limit")
    prompt = prompt_ids(engine, case)
    (out,) = engine.generate([prompt], [sampling_params(case, max_answer_tokens=0)])
    soft = {"trace": out["meta_info"]["soft_thinking"]["trace"], "at": "answer"}
    params = DRAWN | {"max_new_tokens": 12, "custom_params": {"soft_thinking": soft}}
    for seed in (None, 7):
        own = params | {"sampling_seed": seed, "n": 4}
        outs = engine.generate([prompt], [own])
        found = [tuple(o["output_ids"]) for o in outs]
        assert len(set(found)) == 4
        assert [tuple(o["output_ids"]) for o in engine.generate([prompt], [own])] == found
    for sample, tokens in enumerate(found):
        one = params | {"sampling_seed": sample_seed(7, sample)}
        assert tuple(engine.generate([prompt], [one])[0]["output_ids"]) == tokens


def test_a_model_that_is_not_covered_is_refused(engines):
    with pytest.raises(EngineDied, match="has no torch.float16 on a CPU"):
        engines("qwen3", ON | {"dtype": "float16"})
