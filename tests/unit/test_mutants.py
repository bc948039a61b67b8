"""Every mutant still finds what it patches, and the command tells a kill from a crash."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants import Mutant, load, replace
from tests.mutants.__main__ import verdict

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_mutant_applies_and_names_tests_that_exist():
    code = (
        "from tests.mutants import load\n"
        "for mutant in load().values():\n"
        "    mutant.patch()\n"
        "print(len(load()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) == len(load()) >= 35
    for mutant in load().values():
        assert (ROOT / mutant.tests.split()[0].split("::")[0]).exists(), mutant.name
        assert mutant.promise


def test_a_mutant_whose_target_is_gone_is_an_error():
    with pytest.raises(AttributeError):
        replace(Mutant, "gone", lambda original: original)


PLAIN = Mutant("plain", "it holds", "tests/a.py", lambda: None, stops="")
STOPS = PLAIN._replace(stops="AssertionError: thinking step in phase")
DIED = "tests.engine.under_test.EngineDied: the end of its log:"


@pytest.mark.parametrize(
    ("status", "output", "killed"),
    [
        (1, "FAILED tests/a.py::b - assert 1 == 2", True),
        (1, "FAILED tests/a.py::b[c d] - AssertionError: no", True),
        (1, "FAILED tests/a.py::b - Failed: DID NOT RAISE <class 'ValueError'>", True),
        (1, "FAILED tests/a.py::b - tests.oracle.trace.TraceMismatch: output position 3", True),
        (1, "FAILED tests/a.py::b - TypeError: f() takes 2 arguments", False),
        (1, f"FAILED tests/a.py::b - {DIED}", False),
        (1, "ERROR tests/a.py::b - RuntimeError: no engine", False),
        (2, "ERROR collecting tests/a.py", False),
        (0, "1 passed", False),
        (5, "no tests ran", False),
    ],
)
def test_only_a_failed_assertion_kills(status, output, killed):
    assert verdict(PLAIN, status, f"...\n{output}\n1 failed")[0] is killed


def test_an_engine_that_ends_kills_by_the_named_assertion_only():
    died = f"{STOPS.stops} 3\nFAILED tests/a.py::b - {DIED}"
    assert verdict(STOPS, 1, died)[0] and not verdict(PLAIN, 1, died)[0]
    assert not verdict(STOPS, 1, f"IndexError\nFAILED tests/a.py::b - {DIED}")[0]
