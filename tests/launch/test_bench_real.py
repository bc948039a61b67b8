"""`launch.bench.real`: everything but the engine and the pretrained model, and once, in full, those."""

import subprocess
import sys

import pytest

from launch import BUNDLED_MODEL, ROOT, real_model
from launch.bench import real_tables
from launch.bench.methods import method_names
from launch.bench.requests import arguments
from tests.launch.stand_in import run, started
from tests.launch.test_bench import figure, rows

pytestmark = pytest.mark.slow

SMALL = ["--model", str(BUNDLED_MODEL), "--rounds", "2", "--tokens", "4", "--time-limit", "100"]


def test_every_part(tmp_path):
    """Requests, turns, the tables; the plain loop runs as it is, on the bundled model."""
    status, text, errors = run(tmp_path, "real", *SMALL, "--batches", "1", "3")
    assert status == 0, errors
    assert len(started(tmp_path)) == 2
    assert text.count("**Methods**") == text.count("**Deterministic inference**") == 2
    assert text.count("2 rounds; batch 3") == 2
    for name in method_names():
        (first, *_), *_ = rows(text, name)
        assert first == name and len(rows(text, name)) >= 2
        for _, rate, ratio, *_ in rows(text, name)[:2]:
            assert figure(rate) and figure(ratio)
    assert len(rows(text, "soft")) == 2 + 2 + 1
    assert text.count("soft, weight_bits 8 / soft: ") == 2
    (loop,) = rows(text, "plain Hugging Face loop")
    assert figure(loop[1]) and "soft / plain Hugging Face loop: " in text


def test_parts_and_methods_that_are_asked_for(tmp_path):
    chosen = ["--parts", "methods", "--methods", "cot", "--batches", "2"]
    status, text, errors = run(tmp_path, "real", *SMALL, *chosen)
    assert status == 0, errors
    assert len(started(tmp_path)) == 1, "no engine for a part that was not asked for"
    assert rows(text, "cot") and not rows(text, "soft") and "weight_bits" not in text


def test_a_thought_that_ends_early_is_no_figure(tmp_path):
    status, _, errors = run(tmp_path, "real", *SMALL, "--parts", "methods", SHORT_THOUGHT="1")
    assert status == 1 and "5 of 6 output tokens of the soft requests were thinking" in errors


@pytest.mark.parametrize(
    "given", [["--rounds", "1"], ["--tokens", "0"], ["--threads", "0"], ["--batches", "8", "0"]]
)
def test_a_number_that_cannot_be_is_named(tmp_path, given):
    status, _, errors = run(tmp_path, "real", *SMALL, *given)
    assert status == 2 and f"{given[0]} must be" in errors and f"got {given[-1]}" in errors


def test_what_the_engines_are_asked():
    asked = real_tables._asked(["soft", "cot"])
    assert list(asked) == ["soft", real_tables.GRID, "cot"]
    request = arguments({"prompt": ["a", "b"]}, [asked[real_tables.GRID], None], 4)
    soft, discrete = request["sampling_params"]
    own = soft["custom_params"]["soft_thinking"]
    assert (own["method"], own["weight_bits"], own["thinking_start"]) == ("soft", 8, "now")
    assert soft["ignore_eos"] and discrete["ignore_eos"] and "custom_params" not in discrete


@pytest.mark.full
@pytest.mark.engine
def test_the_pretrained_model():
    try:
        real_model.path()
    except RuntimeError as error:  # no package index
        pytest.skip(str(error))
    few = ["--batches", "2", "--methods", "soft", "--rounds", "2", "--tokens", "4"]
    command = [sys.executable, "-m", "launch.bench.real", *few, "--time-limit", "800"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    soft = rows(done.stdout, "soft")
    assert len(soft) == 3 and all(figure(row[1]) for row in soft)
