"""`--enable-deterministic-inference` on a CPU: a request has the same bits whatever SGLang does to it
and whoever is in its batch.

Two engines a model: one that leaves requests alone, and one that cuts prompts into chunks, mixes
them with decodes, and retracts. Compared bit for bit: output tokens, ids, weights and entropy of
every step.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from launch import real_model
from tests.engine.asking import prompt_ids
from tests.engine.cases import Case, by_name, sampling_params
from tests.engine.method_cases import METHOD_CASES
from tests.engine.setups import RETRACT, Setup
from tests.engine.under_test import EngineUnderTest
from tests.models import tiny

ON = {"enable_deterministic_inference": True, "random_seed": 1}
HARD = ON | {"chunked_prefill_size": 8, "enable_mixed_chunk": True}
FAMILIES = ("qwen3", "qwen2", "llama", "gemma", "qwen3_moe")
ALIKE = [
    *(by_name(name) for name in ("soft", "soft, long prompt", "soft, chat", "soft, cold stop")),
    *(by_name(name) for name in ("discrete", "discrete, long", "opens its own block")),
    *METHOD_CASES,
]
QUESTIONS = (
    "What is 43*34?", "Why is the sky blue?", "Name three rivers.", "Is 91 a prime?",
    "A train leaves at noon at 40 km/h. When has it gone 100 km?",
)  # fmt: skip
THOUGHT = {"temperature": 0.6, "top_p": 0.95, "top_k": 30}
REAL = [
    Case("soft", QUESTIONS[0], THOUGHT, 220),
    Case("gumbel", QUESTIONS[1], THOUGHT | {"method": "soft_gumbel"}, 220, seed=1),
    Case("discrete", QUESTIONS[2], None, 220),
    Case("soft, ends", QUESTIONS[3], THOUGHT | {"max_thinking_tokens": 40}, 90),
    Case("soft, 8 bits", QUESTIONS[4], THOUGHT | {"weight_bits": 8}, 60),
]


def bits(out: dict) -> tuple:
    """All that must be the same. JSON keeps every bit of a float32."""
    trace = out["meta_info"].get("soft_thinking", {}).get("trace", {})
    return out["output_ids"], *(trace.get(name) for name in ("ids", "weights", "entropy"))


def first_difference(a: tuple, b: tuple) -> int | None:
    steps = [zip(*columns, strict=True) for columns in (filter(None, a), filter(None, b))]
    return next((i for i, (x, y) in enumerate(zip(*steps, strict=False)) if x != y), None)


@pytest.fixture(scope="module")
def engines(tmp_path_factory, model_dir):
    """(family, arguments, environment) -> a running engine; one at a time."""
    running: list[EngineUnderTest] = []

    def start(family: str, args: dict, env: dict | None = None) -> EngineUnderTest:
        while running:
            running.pop().shutdown()
        path = real_model.path() if family == "smollm2" else tiny.build(family, model_dir)
        log = tmp_path_factory.mktemp("engine") / "log"
        running.append(EngineUnderTest(Setup(family, args, env or {}), path, log))
        return running[-1]

    yield start
    while running:
        running.pop().shutdown()


def ask(engine: EngineUnderTest, cases: list[Case], prompt: Callable) -> list[dict]:
    prompts = [prompt(engine, case) for case in cases]
    return engine.generate(prompts, [sampling_params(case) for case in cases])


def check(engines, family: str, cases: list[Case], alone: list[Case], prompt=prompt_ids) -> None:
    engine = engines(family, ON)
    wanted = {}
    for case in alone:
        engine.flush()
        (out,) = ask(engine, [case], prompt)
        wanted[case.name] = bits(out)
    engine.flush()
    rounds = {"in a batch": ask(engine, cases, prompt), "cached": ask(engine, cases, prompt)}
    assert sum(out["meta_info"]["cached_tokens"] for out in rounds["cached"]), "nothing was cached"
    hard = engines(family, HARD, RETRACT)
    rounds["cut and retracted"] = ask(hard, cases, prompt)
    retracted = [out["meta_info"]["num_retractions"] for out in rounds["cut and retracted"]]
    assert sum(retracted), "nothing was retracted"
    late = engines(family, ON | {"disable_overlap_schedule": True})
    rounds["without overlap"] = ask(late, cases[: len(cases) // 2], prompt)
    different = []
    for name, outs in rounds.items():
        for case, out in zip(cases, outs, strict=False):
            want = wanted.setdefault(case.name, bits(out))
            if bits(out) != want:
                different.append(f"{case.name}, {name}: step {first_difference(bits(out), want)}")
    assert not different, "\n".join(different)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_bits_of_a_request_do_not_depend_on_its_batch(engines, family):
    check(engines, family, ALIKE, [ALIKE[0], ALIKE[4], ALIKE[9]])


def test_of_a_pretrained_model(engines):
    """200 steps and more, where a thought amplifies every rounding error."""

    def prompt(engine: EngineUnderTest, case: Case) -> list[int]:
        messages = [{"role": "user", "content": case.prompt}]
        return engine.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=True
        )["input_ids"]

    check(engines, "smollm2", REAL, [replace(case) for case in REAL[:3]], prompt)
