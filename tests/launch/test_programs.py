"""The example programs, on the server with the bundled model."""

import re

import pytest

from launch.programs import judge, self_consistency, soft_bursts, tree_of_thoughts
from sglang_soft.client import Client


def test_self_consistency(server, capsys):
    self_consistency.main(["--url", server, "--n", "5"])
    printed = capsys.readouterr().out
    votes = re.search(r"votes +\{(.*)\}", printed)
    assert votes and sum(map(int, re.findall(r": (\d+)", votes[1]))) == 5
    assert re.search(r"thought +\w.*</think>\nvotes", printed, re.S), printed
    assert printed.rstrip().endswith("answer   1462")


def test_tree_of_thoughts(server, capsys):
    tree_of_thoughts.main(["--url", server, "--depth", "2", "--branches", "3", "--keep", "2"])
    printed = capsys.readouterr().out
    levels = [list(map(float, line.split()[4:])) for line in re.findall(r"depth .*", printed)]
    assert [len(level) for level in levels] == [3, 6]
    assert all(level == sorted(level) for level in levels)
    assert len(set(levels[0])) > 1, "branches without noise of their own"
    assert printed.rstrip().endswith("answer   1462")


def test_judge(server, capsys):
    """One of the solvers is wrong, and the judge does not follow it."""
    judge.main(["--url", server, "--solvers", "6", "--seed", "1"])
    printed = capsys.readouterr().out
    answers = re.search(r"answers +(.*)", printed)
    assert answers and len(answers[1].split(", ")) > 1, printed
    assert printed.rstrip().endswith("verdict  1462")


def test_soft_bursts(server, capsys):
    soft_bursts.main(["--url", server, "--tau", "0.4", "--steps", "3", "--bursts", "3"])
    printed = capsys.readouterr().out
    found = re.findall(
        r"burst +step (\d+), (\d) soft steps: entropy ([\d.]+) -> ([\d.]+), token .*, (\w+)",
        printed,
    )
    assert 1 <= len(found) <= 3, printed
    for _, taken, before, after, verdict in found:
        assert 1 <= int(taken) <= 3 and float(before) >= 0.4
        assert verdict == ("taken" if float(after) < float(before) else "dropped")
    steps = [int(step) for step, *_ in found]
    assert steps == sorted(set(steps))
    assert re.search(r"answer   -?\d+$", printed.rstrip())


def test_a_burst_is_a_fork_that_leaves_the_thought_as_it_was(server):
    """The thought before the burst, and what goes on from it, hold no soft step."""
    with Client(server) as client:
        answer, found = soft_bursts.think(
            client, "What is 43*34?", tau=0.1, steps=2, most=8, seed=2
        )
        assert any(b.helps and b.drawn[0] != b.drawn[1] for b in found), found
        assert any(not b.helps for b in found), found
        trace = answer.trace
    assert trace is not None
    for step in range(trace.thinking_tokens):
        assert trace.concept(step).ids.tolist() == [soft_bursts.token_of(trace, step)]
    assert any(s.get("edited") for s in trace.segments)
    for b in found:
        if not b.ends:
            assert soft_bursts.token_of(trace, b.step) == b.drawn[b.helps]


def test_without_an_unsure_step_there_is_no_burst(server):
    with Client(server) as client:
        _, found = soft_bursts.think(client, "What is 43*34?", tau=9.0, steps=2, most=8, seed=2)
    assert found == []


@pytest.mark.parametrize("step", [-1, 0, 3])
def test_the_token_before_a_step(server, step):
    with Client(server) as client:
        trace = client.ask("What is 43*34?", soft={"method": "cot"}, max_tokens=9).trace
    assert trace is not None
    every = [*trace.prompt_ids.tolist(), *trace.output_ids.tolist()]
    assert soft_bursts.token_of(trace, step) == every[trace.start + step]
