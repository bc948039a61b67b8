"""`sglang-soft ask` against a real server, as a program, in a terminal and in a pipe."""

import json
import os
import pty
import re
import subprocess
import sys

import pytest

from sglang_soft.trace import Trace

QUESTION = "What is 43*34?"
GREEDY = ["-p", "answer_temperature=0"]


def command(server: str, *args: str) -> list[str]:
    return [sys.executable, "-m", "sglang_soft.server.cli", "ask", "--url", server, *args]


def run(server: str, *args: str, **env: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(server, *args), capture_output=True, text=True, timeout=120, env=os.environ | env
    )


def in_terminal(server: str, *args: str, **env: str) -> str:
    main, side = pty.openpty()
    env = {"TERM": "xterm-256color", "COLUMNS": "60"} | env
    process = subprocess.Popen(
        command(server, *args), stdin=side, stdout=side, stderr=side, env=os.environ | env
    )
    os.close(side)
    shown = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(main)
    assert process.wait(60) == 0, shown
    return shown.decode()


def test_in_a_pipe_it_is_plain_text(server, tmp_path):
    file = tmp_path / "thought.npz"
    done = run(server, QUESTION, *GREEDY, "--keep", "--save", str(file))
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout and "\r" not in done.stdout and not done.stderr
    assert "Answer: 1462" in done.stdout and "ended by stop_token" in done.stdout
    trace = Trace.load(file)
    assert f"{trace.thinking_tokens} tokens" in done.stdout and trace.thinking_tokens > 10
    assert re.search(r"trace-[0-9a-f]{32}", done.stdout) and str(file) in done.stdout
    assert re.search("[▁▂▃▄▅▆▇█]{10}", done.stdout)


def test_in_a_terminal_it_has_colours_and_bars(server):
    shown = in_terminal(server, QUESTION, *GREEDY)
    assert "\x1b[33m" in shown or "\x1b[32m" in shown or "\x1b[1;31m" in shown
    assert len(re.findall("[▁▂▃▄▅▆▇█]{5}", shown)) > 10, "bars while the thought comes"
    assert "1462" in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    assert "weight of the first candidate" in shown


def test_no_color_is_respected(server):
    shown = in_terminal(server, QUESTION, *GREEDY, NO_COLOR="1")
    assert not re.search(r"\x1b\[(\d;)*(3\d|38|9\d)", shown) and "1462" in shown


def test_json_is_one_object_and_nothing_else(server):
    done = run(server, QUESTION, *GREEDY, "--json", "--method", "cot")
    assert done.returncode == 0 and not done.stderr
    found = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1 and found["question"] == QUESTION
    assert "1462" in found["text"] and found["summary"]["method"] == "cot"
    steps = found["steps"]
    assert len(steps) == found["summary"]["thinking_tokens"] + 1
    thought, _, _ = found["text"].partition("</think>")
    assert "".join(step["text"] for step in steps) == thought + "</think>"
    assert all(step["candidates"] == [[step["text"], 1.0]] for step in steps)


def test_a_question_from_the_standard_input(server):
    done = subprocess.run(
        command(server, "-", *GREEDY, "--json"), input=QUESTION + "\n", capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip
    assert json.loads(done.stdout)["question"] == QUESTION


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["-p", "max_topk=99"], ["max_topk", "[1, 32]", "99"]),
        (["--method", "magic"], ["method", "soft_gumbel", "magic"]),
        (["-p", "nope=1"], ["nope"]),
        (["--temperature", "-1"], ["temperature", "-1"]),
    ],
)
def test_what_the_server_refuses_is_status_1_and_one_line(server, args, words):
    for more in ([], ["--json"]):
        done = run(server, QUESTION, *args, *more)
        assert done.returncode == 1 and not done.stdout and done.stderr.count("\n") == 1
        assert done.stderr.startswith("error: HTTP 400"), done.stderr
        assert all(word in done.stderr for word in words), done.stderr


def test_an_output_that_is_closed_early_is_no_traceback(server):
    done = subprocess.run(
        ["bash", "-c", '"$0" "$@" | head -c 5', *command(server, QUESTION)], capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip
    assert "Traceback" not in done.stderr and len(done.stdout) == 5
