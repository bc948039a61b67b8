"""Every mutant still finds what it patches, and the command tells a kill from a crash."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants import MUTANTS, NAME, patches  # noqa: F401 (fills MUTANTS)
from tests.mutants.__main__ import verdict

ROOT = Path(__file__).parents[2]


def test_every_mutant_applies_and_names_tests_that_exist():
    code = (
        "import sys; from tests.mutants import MUTANTS, patches\n"
        "for name, mutant in MUTANTS.items():\n"
        "    mutant.patch()\n"
        "print(len(MUTANTS))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) == len(MUTANTS) >= 20
    for mutant in MUTANTS.values():
        assert (ROOT / mutant.tests.split()[0]).exists(), mutant.name
        assert mutant.promise


@pytest.mark.parametrize(
    ("status", "output", "killed"),
    [
        (1, "x\nFAILED tests/a.py::b - assert 1 == 2", True),
        (1, "ERROR tests/a.py - ImportError: gone", False),
        (0, "1 passed", False),
        (-9, "AssertionError: thinking step in phase 3", True),
        (-9, "RuntimeError: something else", False),
    ],
)
def test_only_a_failed_test_or_the_named_assertion_kills(status, output, killed):
    mutant = MUTANTS["answers-think-on"]
    assert verdict(mutant, status, output)[0] is killed


def test_a_mutant_that_stops_nothing_is_not_killed_by_a_crash():
    assert not verdict(MUTANTS["nothing-replayed"], -9, "AssertionError: thinking step")[0]
    assert NAME.startswith("SGLANG_SOFT_")
