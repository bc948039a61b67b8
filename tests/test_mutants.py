"""`make mutants` takes long and is run now and then; that its edits still apply is checked at every test run."""

from pathlib import Path

import pytest

from tests.mutants import MUTANTS, ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_a_mutants_edit_applies_once_and_its_tests_exist(mutant):
    text = (ROOT / mutant.file).read_text()
    assert text.count(mutant.old) == 1 and mutant.old != mutant.new
    assert (ROOT / Path(mutant.tests.split()[0])).exists()
