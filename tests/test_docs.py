"""Tables in the README are generated from the code; this keeps them so."""

from pathlib import Path

from sglang_soft.cli import methods_table, params_table

README = Path(__file__).parents[1] / "README.md"


def between(text: str, name: str) -> str:
    head, tail = (
        text.split(f"<!-- {name}: begin", 1)[1].split(f"<!-- {name}: end -->", 1)[0].split("-->", 1)
    )
    assert not head.startswith("\n")
    return tail.strip()


def test_parameter_table_is_what_the_command_prints():
    assert between(README.read_text(), "params") == params_table()


def test_methods_tables_are_what_the_command_prints():
    assert between(README.read_text(), "methods") == methods_table()
