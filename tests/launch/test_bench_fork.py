"""`launch.bench.fork` against the real server: what is counted, and its table."""

from argparse import Namespace

import pytest
import requests

from launch.bench import fork
from tests.launch.test_bench import figure, rows

ANSWERS, THINKING, TOKENS = 3, 8, 2


def test_the_four_ways(server):
    args = Namespace(
        model="bundled", answers=ANSWERS, thinking=THINKING, tokens=TOKENS, rounds=2, load=1.0
    )
    text = fork.measure(server, args)
    assert f"The last thought had {THINKING} tokens" in text and "2 rounds" in text
    body = {"prompt": fork.PROMPTS["bundled"], "add_special_tokens": False}
    question = requests.post(f"{server}/tokenize", json=body, timeout=60).json()["count"]
    table = [
        rows(text, name)[0]
        for name in (
            f"1 thought, one request with n = {ANSWERS}",
            f"1 thought, {ANSWERS} requests with the trace",
            f"{ANSWERS} thoughts, each with its answer",
            f"1 thought, {ANSWERS} requests with its text",
        )
    ]
    prefill = [int(row[1].split()[0].replace(",", "")) for row in table]
    assert prefill[:2] == [question + 1 + ANSWERS, question + ANSWERS]
    assert question + ANSWERS - 1 <= prefill[2] <= question * ANSWERS
    assert prefill[3] >= question + THINKING + 1, "the text of the thought is prefilled"
    thought, answers = THINKING + 1, ANSWERS * TOKENS
    decode = [thought + answers] * 2 + [ANSWERS * thought + answers, thought + answers]
    assert [int(row[2]) for row in table] == decode
    assert all(figure(row[3]) for row in table)
    assert [bool(row[4]) for row in table] == [False, True, True, True]


@pytest.mark.parametrize("given", [["--rounds", "1"], ["--answers", "1"], ["--tokens", "0"]])
def test_a_number_that_cannot_be_is_named(given, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["fork", *given])
    with pytest.raises(SystemExit):
        fork.arguments()
    assert f"{given[0]} must be" in capsys.readouterr().err
