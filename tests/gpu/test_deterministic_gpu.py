"""`--enable-deterministic-inference` on CUDA: a request has the same bits alone, in a batch, with a
cached prompt, in chunks and retracted. After a retraction the concept tokens are read at prefill:
equal bits there mean that a prefill has those of the decode.

In bfloat16, with CUDA graphs and the overlap schedule, for each attention backend that SGLang has
for this flag.
"""

import pytest

from launch.exact.company import Answer, compare
from sglang_soft import methods
from tests.engine.setups import RETRACT
from tests.gpu import requests
from tests.gpu.engines import SIZE, output_to

pytestmark = [pytest.mark.gpu, pytest.mark.engine, pytest.mark.usefixtures("cuda")]

TOKENS = 96
QUESTIONS = ("43*34", "17+58", "62+39", "81*19", "96*71", "77*77", "5+6", "12*12")
DRAWN = {"temperature": 0.6, "max_topk": 10}
CASES = [
    None,
    *({"method": name, **DRAWN} for name in methods.names()),
    {"method": "soft", "weight_bits": 8, **DRAWN},
]
"""Parameters of each request. Without top_k, methods that draw read the whole vocabulary. A soft
one is last: of requests that are equally long, SGLang retracts the last."""
ALONE = (0, 1, 1 + methods.names().index("soft_gumbel"))


def sampling(soft: dict | None, seed: int) -> dict:
    params = requests.soft_params(TOKENS, **(soft or {})) | {"sampling_seed": seed}
    if soft is None:
        del params["custom_params"]
    return params


class Asked:
    """One engine, started for a few rounds."""

    def __init__(self, tokenizer, log, args: dict, env: dict) -> None:
        import sglang

        with output_to(log), pytest.MonkeyPatch.context() as patch:
            for name, value in ({"SGLANG_SOFT_REQUIRED": "1"} | env).items():
                patch.setenv(name, value)
            self._engine = sglang.Engine(
                model_path=str(requests.MODEL), dtype="bfloat16", random_seed=1, log_level="info",
                enable_deterministic_inference=True, **SIZE, **args,
            )  # fmt: skip
        questions = (QUESTIONS[i % len(QUESTIONS)] for i in range(len(CASES)))
        self._prompts = [requests.prompt_ids(tokenizer, q) for q in questions]

    def ask(self, which: list[int], *, flush: bool) -> list[dict]:
        if flush:
            self._engine.flush_cache()
        return self._engine.generate(
            input_ids=[self._prompts[i] for i in which],
            sampling_params=[sampling(CASES[i], i) for i in which],
        )

    def close(self) -> None:
        self._engine.shutdown()


@pytest.fixture
def engine(cuda, tmp_path):
    from tests.models import tiny

    _, tokenizer = tiny.load(requests.MODEL)
    running: list[Asked] = []

    def start(args: dict, env: dict | None = None) -> Asked:
        while running:
            running.pop().close()
        running.append(Asked(tokenizer, tmp_path / "log", args, env or {}))
        return running[-1]

    yield start
    while running:
        running.pop().close()


@pytest.mark.parametrize("backend", ["flashinfer", "fa3", "triton"])
def test_the_bits_of_a_request_do_not_depend_on_its_batch(engine, backend):
    import torch

    if backend == "fa3" and torch.cuda.get_device_capability()[0] != 9:
        pytest.skip("SGLang has fa3 for Hopper")
    every = list(range(len(CASES)))
    quiet = engine({"attention_backend": backend})
    wanted = {i: Answer.of(quiet.ask([i], flush=True)[0]) for i in ALONE}
    rounds = {"in a batch": quiet.ask(every, flush=True), "cached": quiet.ask(every, flush=False)}
    assert sum(out["meta_info"]["cached_tokens"] for out in rounds["cached"]), "nothing was cached"
    hard = engine({"attention_backend": backend, "chunked_prefill_size": 16}, RETRACT)
    rounds["cut and retracted"] = hard.ask(every, flush=True)
    infos = [out["meta_info"].get("soft_thinking") for out in rounds["cut and retracted"]]
    assert sum(info["retractions"]["thinking"] for info in infos if info), "nothing was retracted"
    different = []
    for name, outs in rounds.items():
        for i, out in zip(every, outs, strict=True):
            found = compare(Answer.of(out), wanted.setdefault(i, Answer.of(out)))
            if found.bit is not None:
                different.append(f"{CASES[i]}, {name}: step {found.bit}")
    assert not different, "\n".join(different)
