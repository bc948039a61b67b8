"""Traces that the server keeps: expiry, bounds, tenants."""

import numpy as np
import pytest

from sglang_soft.server.kept import PREFIX, KeptTraces, UnknownTrace
from sglang_soft.trace import Steps, Trace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def trace(steps: int = 4, **fields) -> Trace:
    columns = Steps(2)
    for _ in range(steps):
        columns.append(np.array([5, 6], np.int32), np.array([0.75, 0.25], np.float32), 0.5)
    outputs = np.full(steps, 5, np.int32)
    prompt = np.array([1, 2], np.int32)
    return Trace(
        method="soft", steps=columns, start=2, prompt_ids=prompt, output_ids=outputs,
        **({"thinking_finish_reason": "length"} | fields),
    )  # fmt: skip


def store(max_bytes: int = 10**6, seconds: float = 60.0) -> tuple[KeptTraces, Clock]:
    clock = Clock()
    return KeptTraces(max_bytes, seconds, clock), clock


def test_a_handle_brings_the_trace_back():
    kept, _ = store()
    mine = trace()
    told = kept.put(mine)
    assert told["id"].startswith(PREFIX) and len(told["id"]) == len(PREFIX) + 32
    assert told["expires_in"] == 60.0 and told["bytes"] == kept.nbytes > mine.nbytes
    assert kept.get(told["id"]) is mine and len(kept) == 1


def test_handles_differ_even_for_the_same_trace():
    kept, _ = store()
    mine = trace()
    assert len({kept.put(mine)["id"] for _ in range(50)}) == 50


@pytest.mark.parametrize("handle", ["trace-", "trace-00", "", "trace-" + "0" * 32, "x" * 10**5])
def test_an_unknown_handle_is_named_and_cut_short(handle):
    kept, _ = store()
    kept.put(trace())
    with pytest.raises(UnknownTrace, match="no trace is kept under") as error:
        kept.get(handle)
    assert len(str(error.value)) < 400


def test_a_trace_expires_after_its_last_use():
    kept, clock = store(seconds=60)
    used, unused = (kept.put(trace())["id"] for _ in range(2))
    clock.now += 59
    kept.get(used)
    clock.now += 59
    kept.get(used)
    with pytest.raises(UnknownTrace, match="expired"):
        kept.get(unused)
    assert len(kept) == 1
    clock.now += 60  # to the second: it is over
    with pytest.raises(UnknownTrace):
        kept.get(used)
    assert (len(kept), kept.nbytes) == (0, 0)


def test_one_that_was_used_goes_after_those_that_were_not():
    """Expiry looks at the front only: use has to move a trace to the back."""
    kept, clock = store(seconds=10)
    first = kept.put(trace())["id"]
    clock.now += 5
    second = kept.put(trace())["id"]
    kept.get(first)
    clock.now += 9
    assert kept.get(first) and kept.get(second)
    clock.now += 9.5
    kept.get(second)
    clock.now += 1
    with pytest.raises(UnknownTrace):
        kept.get(first)
    assert kept.get(second)


def test_the_one_that_was_used_longest_ago_gives_way():
    one = KeptTraces(10**9, 60).put(trace())["bytes"]
    kept, _ = store(max_bytes=3 * one)
    handles = [kept.put(trace())["id"] for _ in range(3)]
    kept.get(handles[0])
    new = kept.put(trace())["id"]
    assert kept.nbytes == 3 * one and len(kept) == 3
    with pytest.raises(UnknownTrace, match="dropped for others"):
        kept.get(handles[1])
    assert all(kept.get(handle) for handle in (handles[0], handles[2], new))


def test_a_large_trace_makes_room_of_several():
    small, large = (KeptTraces(10**9, 60).put(trace(n))["bytes"] for n in (4, 400))
    kept, _ = store(max_bytes=large + small)
    handles = [kept.put(trace())["id"] for _ in range(large // small)]
    kept.put(trace(400))
    assert kept.nbytes <= kept.max_bytes
    alive = [h for h in handles if h in kept._kept]
    assert alive == handles[len(handles) - len(alive) :], "the oldest ones went"


def test_one_that_is_larger_than_all_is_not_kept_and_nothing_else_goes():
    kept, _ = store(max_bytes=10_000)
    handle = kept.put(trace())["id"]
    told = kept.put(trace(1000))
    assert told["id"] is None and "--soft-keep-mb" in told["error"]
    assert kept.get(handle) and len(kept) == 1


def test_no_memory_no_traces():
    kept, _ = store(max_bytes=0)
    assert kept.put(trace())["id"] is None
    assert (len(kept), kept.nbytes) == (0, 0)


def test_the_bound_holds_over_many():
    kept, clock = store(max_bytes=200_000, seconds=50)
    rng = np.random.default_rng(0)
    for at in range(3000):
        clock.now += rng.random()
        told = kept.put(trace(int(rng.integers(1, 200))))
        if at % 7 == 0:
            kept.drop(told["id"])
        assert sum(entry.trace.nbytes for entry in kept._kept.values()) <= kept.nbytes
        assert kept.nbytes <= kept.max_bytes
        assert kept.nbytes == sum(entry.nbytes for entry in kept._kept.values())
    assert len(kept) > 10


def test_what_a_client_wrote_into_a_trace_counts():
    """Parameters and segments are objects: they cost more than their text."""
    plain = KeptTraces(10**9, 60).put(trace())["bytes"]
    segments = [
        {"step": at, "method": "soft", "params": {"closing_text": "x" * 1000}, "seed": at}
        for at in range(4)
    ]
    assert KeptTraces(10**9, 60).put(trace(segments=segments))["bytes"] > plain + 4000


TENANTS = [(None, None), ("a", None), (None, "a"), ("a", "a"), ("b", None), ("", None)]


@pytest.mark.parametrize("owner", TENANTS)
def test_only_the_same_tenant_has_it(owner):
    kept, clock = store(seconds=60)
    handle = kept.put(trace(), owner)["id"]
    clock.now += 50
    for other in TENANTS:
        if other != owner:
            with pytest.raises(UnknownTrace):
                kept.get(handle, other)
            with pytest.raises(UnknownTrace):
                kept.drop(handle, other)
    clock.now += 20
    with pytest.raises(UnknownTrace):  # the attempts of others kept it no longer
        kept.get(handle, owner)


def test_drop_forgets():
    kept, _ = store()
    handle, other = kept.put(trace())["id"], kept.put(trace())["id"]
    kept.drop(handle)
    for forget in (kept.get, kept.drop):
        with pytest.raises(UnknownTrace):
            forget(handle)
    assert kept.get(other) and kept.nbytes == kept._kept[other].nbytes
