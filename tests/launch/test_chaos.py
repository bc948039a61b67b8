"""`make chaos` on a tiny model: its loop against other loops, and what it compares."""

import json

import pytest
import torch

from launch.exact import chaos, measure
from launch.exact.configurations import DRAWN, GREEDY, SOFT, Configuration, configurations
from launch.exact.loop import Thoughts, widen
from launch.exact.measure import Parting, disturb, ends, relative_difference
from tests.models import tiny
from tests.oracle import Request, run

STEPS = 12
NAMES = ("tiny", "long", "chat")
"""Prompts of different lengths: the shorter ones are padded."""
BY_NAME = {c.name: c for c in configurations()}
OF_THE_ORACLE = {
    SOFT: {},
    "soft, 8 bits": {"weight_bits": 8},
    DRAWN: {"method": "cot"},
    "average": {"method": "average", "max_topk": 5},
    "soft_gumbel": {"method": "soft_gumbel", "gumbel_temperature": 0.5},
    "soft_noise": {"method": "soft_noise", "noise_scale": 0.33, "temperature": 0.5},
    "coconut_tf": {"method": "coconut_tf"},
}
"""What the oracle is asked for the same thought."""


@pytest.fixture(scope="module")
def path(model_dir):
    return tiny.build("qwen3", model_dir)


def load(path):
    """A model of its own: a loop changes its attention."""
    return tiny.load(path, torch.float64)


def follow(model, tokenizer, prompts, rows, chosen, seeds):
    """([N, STEPS] tokens, [STEPS][N, H] inputs, [STEPS][N, V] logits of the steps before them)."""
    requests = [
        BY_NAME[name].request(tokenizer, model.config.vocab_size, seed)
        for name, seed in zip(chosen, seeds, strict=True)
    ]
    tokens, fed, logits = [], [], []
    with torch.inference_mode():
        banned = ends(model, tokenizer)
        thoughts = Thoughts(model, tokenizer, prompts, rows, requests, banned, STEPS)
        for _ in range(STEPS):
            logits.append(thoughts.logits)
            token, inputs = thoughts.think()
            thoughts.feed(inputs)
            tokens.append(token)
            fed.append(inputs)
    return torch.stack(tokens, 1), fed, logits


def test_greedy_tokens_are_those_of_generate(path):
    model, tokenizer = load(path)
    prompts = [tiny.prompt_ids(tokenizer, name) for name in NAMES]
    rows = range(len(NAMES))
    tokens, _, _ = follow(model, tokenizer, prompts, rows, [GREEDY] * 3, [0] * 3)
    other, _ = load(path)
    for prompt, ours in zip(prompts, tokens, strict=True):
        theirs = other.generate(
            torch.tensor([prompt]), do_sample=False, max_new_tokens=STEPS,
            suppress_tokens=sorted(ends(model, tokenizer)),
        )  # fmt: skip
        assert ours.tolist() == theirs[0, len(prompt) :].tolist()


@pytest.mark.parametrize("name", OF_THE_ORACLE)
def test_a_thought_is_the_oracles(path, name):
    model, tokenizer = load(path)
    prompts = [tiny.prompt_ids(tokenizer, name) for name in NAMES]
    rows = range(len(NAMES))
    tokens, fed, _ = follow(model, tokenizer, prompts, rows, [name] * 3, [5] * 3)
    other, _ = load(path)
    start, end = tokenizer.convert_tokens_to_ids(tiny.THINK)
    request = Request(**{
        "think_start_id": start, "think_end_id": end, "max_new_tokens": STEPS, "seed": 5,
        "think_start": (start,), "min_p": 0.0,
        "logit_bias": dict.fromkeys(ends(model, tokenizer), -1e30),
    } | OF_THE_ORACLE[name])  # fmt: skip
    for row, prompt in enumerate(prompts):
        wanted = run(other, prompt, request)
        assert tokens[row].tolist() == wanted.output_ids
        ours = torch.stack([step[row] for step in fed])
        # The plugin's weights are float32; the oracle's are float64.
        assert (ours - torch.stack(wanted.fed)).abs().max() < 1e-4


def test_a_row_does_not_feel_its_batch(path):
    model, tokenizer = load(path)
    widen(model)
    prompts = [tiny.prompt_ids(tokenizer, name) for name in NAMES]
    chosen = [GREEDY, SOFT, "soft, 4 bits"]
    _, _, together = follow(model, tokenizer, prompts, range(3), chosen, range(3))
    for row in range(3):
        _, _, alone = follow(model, tokenizer, [prompts[row]], [0], [chosen[row]], [row])
        # The first step's logits know no step of the plugin, whose float32 could round apart.
        assert (together[0][row] - alone[0][0]).abs().max() < 1e-9
        for a, b in zip(together, alone, strict=True):
            assert (a[row] - b[0]).abs().max() < 1e-5


def test_a_disturbance_is_a_millionth_of_each_input():
    inputs = torch.randn(5, 64, dtype=torch.float64) * torch.arange(1, 6)[:, None]
    added = disturb(inputs) - inputs
    relative = added.norm(dim=1) / inputs.norm(dim=1)
    assert torch.allclose(relative, torch.full((5,), 1e-6, dtype=torch.float64), rtol=1e-6)
    directions = added / added.norm(dim=1, keepdim=True)
    assert torch.allclose(directions, directions[:1].expand(5, -1), atol=1e-8)


def test_a_constant_is_no_difference():
    logits = torch.randn(3, 50, dtype=torch.float64)
    assert relative_difference(logits, logits + 7).max() < 1e-14
    far = logits + torch.nn.functional.one_hot(torch.tensor([0, 1, 2]), 50)
    assert relative_difference(logits, far).min() > 0.05


@pytest.fixture
def few(monkeypatch):
    chosen = [BY_NAME[name] for name in (GREEDY, SOFT, "soft, 8 bits", "soft_gumbel", "coconut_tf")]
    monkeypatch.setattr(chaos, "configurations", lambda: chosen)
    return chosen


def test_equal_runs_have_no_difference(path, few, monkeypatch):
    monkeypatch.setattr(measure, "disturb", lambda inputs: inputs)
    found = measure.measure(path, few, ["What is 43*34?", "hi"], STEPS, [])
    assert list(found.disturbed) == [c.name for c in few]
    for parting in found.disturbed.values():
        assert parting.errors == [[0.0] * (STEPS + 1)] * 2
        assert parting.tokens == parting.beyond == [None, None]


def test_a_disturbance_is_seen_from_step_0_on(path, few):
    found = measure.measure(path, few, ["What is 43*34?", "hi"], STEPS, ["float32"])
    for parting in found.disturbed.values():
        assert all(1e-9 < errors[0] < 1e-4 for errors in parting.errors)
    assert list(found.rounded["float32"]) == [GREEDY, SOFT, "soft, 8 bits"]
    for parting in found.rounded["float32"].values():
        assert all(1e-9 < errors[0] < 1e-4 for errors in parting.errors)


def test_partings():
    parting = Parting([[1e-6, 2e-3, 1e-4], [1e-6, 1e-6, 1e-6]], [2, None])
    assert parting.beyond == [1, None]
    assert chaos.spread(parting.beyond) == "never (1 .. never)"
    assert chaos.spread([3, 4, None]) == "4 (3 .. never)"
    assert chaos.spread([None, None]) == "never"
    assert chaos.summary(parting)["median"] == pytest.approx([1e-6, 1e-3, 5.05e-5], rel=1e-3)


def test_the_command(path, few, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(chaos, "path", lambda model: path)
    chaos.main(["--model", "toy", "--steps", "4", "--prompts", "2", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "| soft, 8 bits |" in printed and "bfloat16: first other token" in printed
    chaos.main(["--model", "smollm2", "--steps", "4", "--prompts", "1", "--out", str(tmp_path)])
    found = json.loads((tmp_path / "chaos.json").read_text())
    assert list(found) == ["toy", "smollm2"], "the other model's figures were lost"
    assert len(found["toy"]["disturbed"]["soft"]["median"]) == 5
    assert (tmp_path / "chaos.png").read_bytes().startswith(b"\x89PNG")


def test_every_method_is_compared():
    from sglang_soft import methods

    assert {c.method for c in configurations()} == set(methods.names())
    assert Configuration("soft, 4 bits", "soft", {"weight_bits": 4}) in configurations()
