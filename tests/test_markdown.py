import pytest

from sglang_soft.server.markdown import table


def test_a_table_has_a_header_and_a_line_for_each_row():
    rows = [{"name": "a", "meaning": "first"}, {"meaning": "[second](b.md)", "name": "b"}]
    assert table(rows) == (
        "| name | meaning |\n| --- | --- |\n| a | first |\n| b | [second](b.md) |"
    )


def test_no_cell_can_end_early():
    assert table([{"a|b": "one\ntwo | three"}]) == "| a\\|b |\n| --- |\n| one two \\| three |"


def test_no_rows_give_no_table():
    assert table([]) == ""


def test_rows_with_other_columns_are_refused():
    with pytest.raises(ValueError, match=r"row 1 has the columns \['b'\], the first has \['a'\]"):
        table([{"a": "1"}, {"b": "2"}])
