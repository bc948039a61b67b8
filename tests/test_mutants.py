"""What counts as a killed mutant."""

from tests.mutants import MUTANTS, verdict

PLAIN = next(m for m in MUTANTS if not m.stops)
STOPS = next(m for m in MUTANTS if m.stops)


def test_a_failed_test_kills():
    assert verdict(PLAIN, 1, "...F\nFAILED tests/test_x.py::test_y - assert 1 == 2\n1 failed, 3 passed")[0]


def test_passing_tests_do_not_kill():
    assert not verdict(PLAIN, 0, "....\n4 passed")[0]


def test_tests_that_cannot_run_do_not_kill():
    assert not verdict(PLAIN, 1, "E\nERROR tests/test_x.py::test_y - RuntimeError: no engine\n1 error")[0]
    assert not verdict(PLAIN, 2, "ERROR collecting tests/test_x.py\nImportError: no module\n1 error")[0]


def test_an_engine_kills_by_the_named_assertion_only():
    assert verdict(STOPS, -9, f"Traceback:\n{STOPS.stops} 2\nKilled")[0]
    assert not verdict(PLAIN, -9, f"Traceback:\n{STOPS.stops} 2\nKilled")[0]
    assert not verdict(STOPS, -9, "Traceback:\nIndexError: out of range\nKilled")[0]
