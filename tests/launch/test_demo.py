"""What `make run` prints, and when it does not start."""

import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys

import pytest
import requests

from launch import ROOT, demo, starting
from sglang_soft.client import Answer, Summary, Tokens


def answer(reason: str | None, thinking: str | None = "Right: 43*4=172") -> Answer:
    summary = Summary(
        method="soft", thinking_tokens=7, answer_tokens=3, thinking_finish_reason=reason,
        mean_concept_size=1.5, mixed_share=0.5, mean_entropy=0.25, final_entropy=0.0, retractions={},
    )  # fmt: skip
    return Answer(
        text="Answer: 1462", thinking=thinking, finish_reason="stop", tokens=Tokens(1, 1, 0),
        summary=summary, trace=None, kept=None, raw={},
    )  # fmt: skip


def test_the_answer_as_it_is_printed():
    text = demo.text("What is 43*34?", answer("cold_stop"))
    for part in ("What is 43*34?", "43*4=172 [cut here by Cold Stop]", "1462"):
        assert part in text
    assert "7, ended by cold_stop, mean entropy 0.250 nats" in text
    assert "cut here" not in demo.text("What is 43*34?", answer("stop_token"))
    assert "Thought, answer" in demo.text("What is 43*34?", answer("stop_token", None))


def test_a_long_thought_and_control_characters_keep_to_their_lines():
    text = demo.text("q", answer("stop_token", "\x1b[2J\n" + "word " * 500))
    assert text.count("\n") == 3 and "\x1b" not in text and "␛[2J⏎" in text and len(text) < 600


def test_what_is_waited_for():
    log = ""
    for line, phase in [
        ("warnings.warn(...)", "importing SGLang"),
        ("[..] Load weight begin. avail mem=..", "loading the model"),
        ("[..] KV Cache is allocated. #tokens: 1", "allocating the KV cache"),
        ("[..] INFO:     Application startup complete.", "generating a first token"),
    ]:
        log += line + "\n"
        assert starting.phase(log) == phase


@pytest.mark.parametrize(
    ("args", "page"),
    [([], True), (["--soft-view", "off"], False), (["--soft-view=everyone"], True),
     (["--soft-view", "--port", "1"], True)],
)  # fmt: skip
def test_whether_the_page_is_on(args, page):
    assert demo.has_page(args) is page


def run(*args: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "launch.demo", *args]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_a_port_that_is_taken_is_named_before_anything_starts():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("--port", str(port), "--once")
    assert done.returncode == 1 and f"error: port {port} is not free" in done.stderr


def test_another_host_is_refused():
    done = run("--host", "0.0.0.0")
    assert done.returncode == 1 and "error: --host" in done.stderr


@pytest.mark.parametrize(
    ("args", "key"),
    [
        ([], None),
        (["--api-key", "a", "--tp-size", "2"], "a"),
        (["--api-key=a"], "a"),
        (["--api-key", "a", "--api-key=b"], "b"),
        (["--admin-api-key", "a"], None),
    ],
)
def test_the_key_of_the_server(args, key):
    assert demo.key_of(args) == key


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def assert_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))


@pytest.mark.engine
@pytest.mark.full
def test_the_demo_with_the_real_server(monkeypatch):
    """Arguments pass through, and the server is gone afterwards. It needs a key, and the
    environment names a proxy that nobody serves."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    port = free_port()
    command = [sys.executable, "-m", "launch.demo", "--once", "--port", str(port)]
    command += ["--soft-method", "cot", "--api-key", "sesame"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert "Answer: 1462" in done.stdout and "ended by " in done.stdout
    assert not done.stderr
    assert_free(port)


@pytest.mark.engine
def test_make_run_is_15_lines_and_its_page_opens():
    """As `make run` in a terminal of 80 columns; what the engine says is in the file it names."""
    port = free_port()
    main, side = pty.openpty()
    env = os.environ | {"TERM": "xterm-256color", "COLUMNS": "80"}
    process = subprocess.Popen(
        ["make", "-s", "-o", ".venv/.ready", "run", f"ARGS=--port {port}"], cwd=ROOT, env=env,
        stdin=side, stdout=side, stderr=side, start_new_session=True,
    )  # fmt: skip
    os.close(side)
    shown = b""
    try:
        while b"Ctrl-C" not in shown:
            assert select.select([main], [], [], 300)[0], shown.decode()
            shown += os.read(main, 65536)
        found = re.search(r"http://\S+/soft_thinking/view", shown.decode())
        assert found, shown.decode()
        assert requests.get(found[0], timeout=60).status_code == 200
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(120)
        os.close(main)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    # What a carriage return wrote over is gone; a line may take several rows.
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    assert sum(max(1, -(-len(line) // 80)) for line in lines) <= 15, text
    assert "Answer: 1462" in text and "arning" not in text
    assert "importing SGLang, " in text, "no spinner was seen"
    log = ROOT / "results" / f"make-run-{port}.log"
    assert f"results/{log.name}" in text and "Uvicorn running" in log.read_text()
    log.unlink()
    assert_free(port)


@pytest.mark.engine
@pytest.mark.full
def test_a_start_that_fails_shows_the_end_of_the_log(tmp_path):
    port = free_port()
    command = [sys.executable, "-m", "launch.demo", "--port", str(port), "--tp-size", "nonsense"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    log = ROOT / "results" / f"make-run-{port}.log"
    assert done.returncode == 1 and "error: the server ended with exit status" in done.stderr
    assert "invalid int value: 'nonsense'" in done.stderr and str(log) in done.stderr
    assert "Traceback" not in done.stderr
    log.unlink()
    assert_free(port)
