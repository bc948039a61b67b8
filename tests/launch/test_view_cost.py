"""The benchmark of an open page: what is compared with what."""

import threading

import pytest

from launch.bench import view_cost
from launch.bench.view_cost import ALONE, CLIENT, PAGE


def test_ratios_are_of_the_same_round():
    found = {ALONE: [(100, 0), (200, 0), (50, 0)], PAGE: [(90, 2), (150, 1), (50, 4)]}
    alone, page = view_cost.rows(found)
    assert alone["/ alone"] == "" and alone["tokens/s of the batch"] == "100"
    assert page["/ alone"] == "0.900 (0.825 .. 0.950)" and page["thoughts seen"] == "7"


def test_a_side_that_saw_nothing_is_no_measurement():
    def sees_nothing(url: str, begun: threading.Event, ended: threading.Event) -> int:
        begun.set()
        return 0

    def fails(url: str, begun: threading.Event, ended: threading.Event) -> int:
        raise OSError("no browser")

    nothing = pytest.raises(AssertionError, match="nothing was streamed")
    with nothing, view_cost.watching("", sees_nothing):
        pass
    with pytest.raises(OSError, match="no browser"), view_cost.watching("", fails):
        pass


def test_the_order_of_the_sides_turns(monkeypatch):
    asked = []
    monkeypatch.setattr(view_cost, "batch", lambda url, tokens: 1.0)
    monkeypatch.setattr(
        view_cost, "rate", lambda url, side, tokens: (asked.append(side), (1.0, 1))[1]
    )
    view_cost.measure("", [ALONE, CLIENT, PAGE], 1, 2)
    assert asked == [ALONE, CLIENT, PAGE, CLIENT, PAGE, ALONE]


def test_a_batch_and_a_client_next_to_it(server):
    """Every token of the batch is counted, on the real server."""
    found, seen = view_cost.rate(server, CLIENT, 20)
    assert found > 0 and seen > 0
