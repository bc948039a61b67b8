"""Weights that change while the server runs, as reinforcement learning does it."""

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.conftest import on
from tests.engine import inside
from tests.engine.asking import ask, expected, observed
from tests.engine.cases import by_name
from tests.oracle import compare

SOFT = by_name("soft, long prompt")


def with_a_larger_embedding(path: Path, copy: Path) -> Path:
    shutil.copytree(path, copy)
    (file,) = copy.glob("*.safetensors")
    tensors = load_file(file)
    (name,) = (name for name in tensors if name.endswith("embed_tokens.weight"))
    save_file(tensors | {name: tensors[name] * 2}, file, metadata={"format": "pt"})
    return copy


def embedding_rms(out: dict) -> float:
    return out["meta_info"]["soft_thinking"]["trace"]["model"]["embedding_rms"]


@on("default")
def test_what_was_measured_of_the_weights_is_measured_again(engine, tmp_path):
    larger = with_a_larger_embedding(engine.path, tmp_path / "larger")
    (before,) = ask(engine, [SOFT])
    try:
        engine.run(inside.update_weights, str(larger))
        (changed,) = ask(engine, [SOFT])
    finally:
        engine.run(inside.update_weights, str(engine.path))
    (after,) = ask(engine, [SOFT])
    assert embedding_rms(changed) == pytest.approx(2 * embedding_rms(before), rel=1e-5)
    assert embedding_rms(after) == embedding_rms(before)
    compare(observed(after), expected(engine, SOFT))
