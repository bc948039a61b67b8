"""The example programs, on the server with the bundled model."""

import re

from launch.programs import judge, self_consistency, tree_of_thoughts


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
