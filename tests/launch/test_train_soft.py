"""`make train-soft`: one step of it, from a server's roll-outs to new weights in the same server."""

from pathlib import Path

import pytest
import requests

from launch.train_soft.__main__ import report
from launch.train_soft.picture import draw
from launch.train_soft.run import Found, Plan, train
from sglang_soft.launch_server import BUNDLED_MODEL

PLAN = Plan("soft_gumbel", steps=1, questions=6, group=6, rate=0.01, held_out=4, samples=1)


@pytest.fixture
def bundled(server):
    """The server, which has its own weights again in the end."""
    yield server
    body = {"model_path": str(BUNDLED_MODEL), "weight_version": "default"}
    answer = requests.post(f"{server}/update_weights_from_disk", json=body, timeout=60)
    assert answer.json()["success"]


def test_a_step_changes_what_the_server_answers(bundled, tmp_path: Path):
    found = train(PLAN, bundled, tmp_path / "weights", "cot")
    (learned,) = found.learned
    assert learned.used and learned.gradient > 0
    assert list(found.curve) == list(found.other) == [0, 1]
    # A rate this large breaks the toy: it is the server's weights that changed.
    assert sum(found.curve[0]) > sum(found.curve[1])
    text = report({"soft_gumbel": PLAN}, {"soft_gumbel": found})
    assert "| `soft_gumbel` | `cot` |" in text
    draw({"soft_gumbel": found}, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 1000


def test_an_accuracy_has_an_interval():
    found = Found(curve={0: [0.0, 0.5, 1.0, 1.0]})
    assert found.at(0).low < found.at(0).value == 0.625 < found.at(0).high
