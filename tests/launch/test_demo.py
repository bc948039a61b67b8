"""What `make run` prints, and when it does not start."""

import socket
import subprocess
import sys

import pytest

from launch import ROOT, demo


def completion(reason: str | None) -> dict:
    soft = {"thinking_tokens": 7, "thinking_finish_reason": reason, "mean_entropy": 0.25}
    message = {"reasoning_content": "Right: 43*4=172", "content": "Answer: 1462"}
    return {"choices": [{"message": message, "meta_info": {"soft_thinking": soft}}]}


def test_the_answer_as_it_is_printed():
    text = demo.text("What is 43*34?", completion("cold_stop"))
    for part in ("What is 43*34?", "43*4=172   [cut here by Cold Stop]", "1462"):
        assert part in text
    assert "7, ended by cold_stop, mean entropy 0.250 nats" in text
    assert "cut here" not in demo.text("What is 43*34?", completion("stop_token"))


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


@pytest.mark.engine
@pytest.mark.full
def test_the_demo_with_the_real_server(monkeypatch):
    """Arguments pass through, and the server is gone afterwards. It needs a key, and the
    environment names a proxy that nobody serves."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "launch.demo", "--once", "--port", str(port)]
    command += ["--soft-method", "cot", "--api-key", "sesame"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "Answer: 1462" in done.stdout and "ended by " in done.stdout
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
