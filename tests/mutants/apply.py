"""Imported by every process of an engine under mutation (SGLANG_SOFT_METHODS)."""

from tests import mutants

mutants.apply()
