"""Inputs that once gave a wrong result in silence: what came then, what comes now.

    python -m tests.issue_table          runs the tests of the table and prints it

A test is a row of the table by `row` (or `case`, for a parameter of one). `before` is what commit
b468ece did.
"""

import sys
from contextlib import redirect_stdout
from typing import Any

import pytest

from sglang_soft.server.markdown import table


def row(number: str, shown: str, before: str, after: str) -> pytest.MarkDecorator:
    """Marks a test. number: such as C16. shown: the input, for a reader."""
    return pytest.mark.issue(number, shown, before, after)


def case(number: str, shown: str, before: str, after: str, *values: Any) -> Any:
    """A parameter set of a test that is such a row."""
    return pytest.param(*values, id=shown, marks=row(number, shown, before, after))


class _Table:
    def __init__(self) -> None:
        self.marks: dict[str, tuple[str, ...]] = {}
        self.failed: set[str] = set()
        self.ran: set[str] = set()

    def pytest_collection_modifyitems(self, config: Any, items: list[Any]) -> None:
        rows = [item for item in items if item.get_closest_marker("issue")]
        config.hook.pytest_deselected(items=[item for item in items if item not in rows])
        items[:] = rows
        self.marks = {i.nodeid: i.get_closest_marker("issue").args for i in rows}

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" and report.passed:
            self.ran.add(report.nodeid)
        if report.failed:
            self.failed.add(report.nodeid)

    def rows(self) -> list[dict[str, str]]:
        """One of each kind, however many tests and parameters show it."""
        kinds: dict[tuple[str, ...], list[str]] = {}
        for node, kind in self.marks.items():
            kinds.setdefault(kind, []).append(node)
        found = []
        for (number, shown, before, after), nodes in sorted(kinds.items(), key=_in_order):
            passed = len(self.ran.intersection(nodes))
            state = "FAILS" if self.failed.intersection(nodes) else f"{passed} of {len(nodes)}"
            line = {"number": number, "input": shown, "before": before, "after": after}
            found.append(line | {"tests that passed": state})
        return found


def _in_order(kind: tuple[tuple[str, ...], list[str]]) -> tuple[str, int]:
    number = kind[0][0]
    return number[0], int(number[1:])


def main() -> None:
    found = _Table()
    with redirect_stdout(sys.stderr):  # standard output gets the table alone
        status = pytest.main(["-q", "--no-header", "tests", *sys.argv[1:]], [found])
    rows = [{k: repr(v)[1:-1] for k, v in row.items()} for row in found.rows()]
    print(table(rows))
    raise SystemExit(status)


if __name__ == "__main__":
    main()
