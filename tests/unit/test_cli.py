"""`sglang-soft` itself: its help, and an output that is closed early."""

import os
import sys

import pytest

from sglang_soft.server import cli


def test_the_help_names_every_command(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    shown = capsys.readouterr().out
    names = {*cli._TABLES, "ask", "verify", "trace", "eval"}
    assert {
        line.split()[1] for line in shown.splitlines() if line.startswith("sglang-soft ")
    } == names


def test_an_output_that_is_closed_early_is_no_traceback(capfd):
    kept = os.dup(1)
    reader, writer = os.pipe()
    os.close(reader)
    try:
        os.dup2(writer, 1)
        with open(1, "w", closefd=False) as closed, pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdout", closed)
            with pytest.raises(SystemExit) as ended:
                cli.main(["stops"])
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(writer)
    assert ended.value.code == 1
