"""What the measurement of company compares, and that it sees a difference of one bit."""

import subprocess
import sys

import numpy as np
import pytest

from launch.exact import company
from launch.exact.questions import questions

STEPS = 6


def answer(weights: list[float], tokens: list[int] | None = None, cached: int = 0):
    concepts = [((1, 2), (w, 1 - w), 0.5) for w in weights]
    return company.Answer(tokens or list(range(len(weights) + 1)), concepts, cached, 0)


def test_one_bit_of_one_weight_is_seen():
    weight = 0.7
    next_one = float(np.nextafter(np.float32(weight), np.float32(1)))
    same = company.compare(answer([weight] * 4), answer([weight] * 4))
    assert same == (None, None, 1.0)
    other = company.compare(answer([weight, weight, next_one, weight]), answer([weight] * 4))
    assert other == (2, None, 0.5)
    assert company.compare(answer([weight] * 3), answer([weight] * 4)).bit == 3
    token = company.compare(answer([weight], [5, 6]), answer([weight], [5, 7]))
    assert token == (1, 1, 1.0)


def test_questions_are_distinct_and_of_a_fixed_order():
    found = questions(200)
    assert len(set(found)) == 200 and found[:50] == questions(50)


def test_every_question_is_asked_in_every_configuration():
    names = ["discrete greedy", "soft, 8 bits", "soft_gumbel"]
    asked = company.requests_of(names, 3, STEPS)
    assert [one.configuration for one in asked] == names * 3
    soft = asked[1].body["sampling_params"]["custom_params"]["soft_thinking"]
    assert soft["weight_bits"] == 8 and soft["return_concepts"]
    assert "custom_params" not in asked[0].body["sampling_params"]


def test_a_round_that_did_not_happen_is_an_error():
    quiet = {0: answer([0.5])}
    for name in ("cached", "cut, retracted"):
        with pytest.raises(RuntimeError):
            company.check_taken(name, quiet)
    company.check_taken("cached", {0: answer([0.5], cached=3)})


@pytest.mark.parametrize(
    "args",
    [["--prompts", "0"], ["--alone", "7", "--prompts", "2"], ["--methods", "discrete drawn"]],
)
def test_arguments_out_of_range(args):
    with pytest.raises(SystemExit):
        company.arguments(args)


@pytest.mark.full
@pytest.mark.engine
def test_on_a_real_model(tmp_path):
    """Two methods, few steps, in deterministic mode: every bit is the same, and the rounds that
    are named were taken (else the command fails)."""
    done = subprocess.run(
        [
            sys.executable, "-m", "launch.exact.company", "--deterministic", "--prompts", "2",
            "--alone", "1", "--steps", "24", "--methods", "soft", "discrete drawn", "soft_gumbel",
            "--log", str(tmp_path / "log"),
        ],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("equal") == 3 * (len(company.ROUNDS) - 1)
