"""Weights that change while the server runs, as reinforcement learning does it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.conftest import on
from tests.engine import inside
from tests.engine.asking import ask, expected, observed, oracle_request, prompt_ids
from tests.engine.cases import Case, by_name
from tests.models import tiny
from tests.oracle import compare, run

SOFT = by_name("soft, long prompt")


def with_a_larger_embedding(path: Path, copy: Path) -> Path:
    return with_another_embedding(path, copy, lambda table: table * 2)


def with_another_embedding(path: Path, copy: Path, change: Callable) -> Path:
    shutil.copytree(path, copy)
    (file,) = copy.glob("*.safetensors")
    tensors = load_file(file)
    (name,) = (name for name in tensors if name.endswith("embed_tokens.weight"))
    save_file(tensors | {name: change(tensors[name])}, file, metadata={"format": "pt"})
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


REALIGNED = Case("latent_mas", "long", SOFT.soft | {"method": "latent_mas", "latent_realign": True,
                                                    "max_topk": 10}, 8)  # fmt: skip


def with_rolled_embeddings(path: Path, copy: Path) -> Path:
    """Every row moved by one element: what is realigned points in another direction."""
    return with_another_embedding(path, copy, lambda table: table.roll(1, 1).contiguous())


@on("default")
def test_what_is_realigned_follows_the_weights(engine, tmp_path):
    rolled = with_rolled_embeddings(engine.path, tmp_path / "rolled")
    compare(observed(ask(engine, [REALIGNED])[0]), expected(engine, REALIGNED))
    try:
        engine.run(inside.update_weights, str(rolled))
        (changed,) = ask(engine, [REALIGNED])
    finally:
        engine.run(inside.update_weights, str(engine.path))
    model, _ = tiny.load(rolled)
    wanted = run(model, prompt_ids(engine, REALIGNED), oracle_request(engine, REALIGNED))
    compare(observed(changed), wanted, atol=1e-4)
    engine.flush()
    compare(observed(ask(engine, [REALIGNED])[0]), expected(engine, REALIGNED))
