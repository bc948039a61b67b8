"""The benchmark of an open page: what is compared with what."""

import os
from threading import Event

import pytest

from launch.bench import view_cost
from launch.bench.view_cost import ALONE, CLIENT, PAGE, Measured


def test_ratios_are_of_the_same_round():
    alone = [Measured(100, cpu=0.2), Measured(200, cpu=0.1), Measured(50, cpu=0.4)]
    page = [Measured(90, 2, 0.2), Measured(150, 1, 0.15), Measured(50, 4, 0.48)]
    alone, page = view_cost.rows({ALONE: alone, PAGE: page})
    assert alone["/ alone"] == "" and alone["tokens/s of the batch"] == "100"
    assert page["/ alone"] == "0.900 (0.825 .. 0.950)" and page["thoughts seen"] == "7"
    assert page["server CPU a token / alone"] == "1.200 (1.100 .. 1.350)"


def test_without_its_process_a_servers_cpu_time_is_left_out():
    (_, page) = view_cost.rows({ALONE: [Measured(100)], PAGE: [Measured(90, 2)]})
    assert page["server CPU a token / alone"] == "" and page["/ alone"] == "0.900"
    assert view_cost.cpu_seconds(os.getpid()) > 0


def sees_nothing(url: str, begun: Event, ended: Event) -> int:
    begun.set()
    return 0


def fails(url: str, begun: Event, ended: Event) -> int:
    raise OSError("no browser")


def test_a_side_that_saw_nothing_is_no_measurement():
    nothing = pytest.raises(AssertionError, match="nothing was streamed")
    with nothing, view_cost.watching("", sees_nothing):
        pass
    with pytest.raises(OSError, match="no browser"), view_cost.watching("", fails):
        pass


def test_the_order_of_the_sides_turns(monkeypatch):
    asked = []
    monkeypatch.setattr(view_cost, "batch", lambda url, tokens: 1.0)
    monkeypatch.setattr(
        view_cost, "rate", lambda url, side, *more: (asked.append(side), Measured(1.0, 1))[1]
    )
    view_cost.measure("", [ALONE, CLIENT, PAGE], 1, 2)
    assert asked == [ALONE, CLIENT, PAGE, CLIENT, PAGE, ALONE]


def test_a_batch_and_a_client_next_to_it(server):
    """Every token of the batch is counted, on the real server."""
    found = view_cost.rate(server, CLIENT, 20)
    assert found.rate > 0 and found.seen > 0
