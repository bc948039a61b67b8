"""What counts as a killed mutant. `make mutants` takes long and is run now and then; that its edits
still apply is checked at every test run."""

import pytest

from tests.mutants import MUTANTS, ROOT, verdict

PLAIN = next(m for m in MUTANTS if not m.stops)
STOPS = next(m for m in MUTANTS if m.stops)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_a_mutants_edit_applies_once_and_its_tests_exist(mutant):
    text = (ROOT / mutant.file).read_text()
    assert text.count(mutant.old) == 1 and mutant.old != mutant.new
    assert (ROOT / mutant.tests.split()[0].split("::")[0]).exists()


def test_a_failed_test_kills():
    assert verdict(
        PLAIN, 1, "...F\nFAILED tests/test_x.py::test_y - assert 1 == 2\n1 failed, 3 passed"
    )[0]


def test_passing_tests_do_not_kill():
    assert not verdict(PLAIN, 0, "....\n4 passed")[0]


def test_tests_that_cannot_run_do_not_kill():
    assert not verdict(
        PLAIN, 1, "E\nERROR tests/test_x.py::test_y - RuntimeError: no engine\n1 error"
    )[0]
    assert not verdict(
        PLAIN, 2, "ERROR collecting tests/test_x.py\nImportError: no module\n1 error"
    )[0]


def test_an_engine_kills_by_the_named_assertion_only():
    assert verdict(STOPS, -9, f"Traceback:\n{STOPS.stops} 2\nKilled")[0]
    assert not verdict(PLAIN, -9, f"Traceback:\n{STOPS.stops} 2\nKilled")[0]
    assert not verdict(STOPS, -9, "Traceback:\nIndexError: out of range\nKilled")[0]
