"""How a server of ours is started, awaited and ended, with a small HTTP program as the server."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from sglang_soft.server.process import Server, check_port, without_proxy

PROGRAM = '''
"""A stand-in for SGLang: `pids` gets the process ids of itself and of its child."""

import argparse, http.server, os, pathlib, signal, subprocess, sys

parser = argparse.ArgumentParser()
parser.add_argument("--host")
parser.add_argument("--port", type=int)
parser.add_argument("--pids", type=pathlib.Path)
parser.add_argument("--die", action="store_true")
parser.add_argument("--ill", type=int, default=0, help="answers with 503 before the first 200")
parser.add_argument("--deaf", action="store_true", help="it and its child ignore SIGTERM")
args = parser.parse_args()
if args.deaf:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # inherited by the child
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
args.pids.with_suffix(".new").write_text(f"{os.getpid()} {child.pid}")
args.pids.with_suffix(".new").rename(args.pids)
print("hello", os.environ.get("GREETING"), flush=True)
if args.die:
    sys.exit("no such model")


class Handler(http.server.BaseHTTPRequestHandler):
    ill = args.ill

    def do_GET(self):
        known = self.path == "/health_generate"
        self.send_response(404 if not known else 503 if Handler.ill else 200)
        Handler.ill = max(0, Handler.ill - 1)
        self.end_headers()

    def log_message(self, *_):
        pass


http.server.HTTPServer((args.host, args.port), Handler).serve_forever()
'''


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Make a `Server` of the program; its log is tmp_path / "log"."""
    (tmp_path / "stand_in.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)

    def make(*args: str, **options) -> Server:
        options = {"log": tmp_path / "log", "timeout": 30} | options
        return Server(["--pids", str(tmp_path / "pids"), *args], entry="stand_in", **options)

    return make


def pids(folder: Path) -> list[int]:
    """Of the program and its child, as soon as they are known."""
    deadline = time.monotonic() + 30
    while not (folder / "pids").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return [int(pid) for pid in (folder / "pids").read_text().split()]


def is_running(pid: int) -> bool:
    """A zombie, which its new parent has not reaped yet, does not run."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def assert_ended(folder: Path) -> None:
    deadline = time.monotonic() + 10
    while any(is_running(pid) for pid in pids(folder)):
        assert time.monotonic() < deadline, "something of the group still runs"
        time.sleep(0.01)


def test_up_inside_the_block_and_ended_after_it(program, tmp_path):
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    try:
        with program("--ill", "2", env={"GREETING": "world"}) as server:
            assert server.url == f"http://127.0.0.1:{server.port}"
            process, child = pids(tmp_path)
            assert server.process.pid == process and is_running(child)
            assert os.getpgid(child) == os.getsid(child) == process != os.getpgid(0)
            with pytest.raises(RuntimeError, match=f"port {server.port} is not free"):
                check_port(server.port)
        assert_ended(tmp_path)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
    assert "hello world" in (tmp_path / "log").read_text()
    check_port(server.port)


def test_start_wait_stop(program, tmp_path):
    server = program().start()
    os.kill(server.process.pid, signal.SIGKILL)
    assert server.wait() == -signal.SIGKILL
    assert is_running(pids(tmp_path)[1])
    server.stop()
    assert_ended(tmp_path)
    server.stop()
    program().stop()


def test_a_server_that_dies_at_the_start_shows_its_log(program, tmp_path):
    (tmp_path / "log").write_text("of an earlier server\n")
    with pytest.raises(RuntimeError, match="(?s)exit status 1.*no such model") as raised:
        program("--die").start()
    assert "hello" in str(raised.value) and "earlier" not in str(raised.value)
    assert (tmp_path / "log").read_text().startswith("of an earlier server\nhello")
    assert_ended(tmp_path)


def test_a_server_that_never_becomes_healthy_is_ended(program, tmp_path):
    with pytest.raises(RuntimeError, match="(?s)did not answer on .* within 3 s.*hello"):
        program("--ill", "1000000", timeout=3).start()
    assert_ended(tmp_path)


def test_a_port_that_is_taken_is_named_before_anything_starts(program, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RuntimeError, match=f"port {port} is not free"):
            program(port=port).start()
    assert not (tmp_path / "pids").exists()
    with program(port=port) as server:
        assert server.port == port


def test_a_proxy_is_not_asked(program, tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with program():
        pass


def test_what_ignores_sigterm_is_killed(program, tmp_path):
    with program("--deaf", grace=1) as server:
        start = time.monotonic()
    assert time.monotonic() - start >= 1, "it did not ignore SIGTERM"
    assert server.process.returncode == -signal.SIGKILL
    assert_ended(tmp_path)


@pytest.mark.parametrize("arg", ["--port=30000", "--port", "--host"])
def test_host_and_port_are_no_arguments(arg):
    with pytest.raises(ValueError, match=arg):
        Server([arg, "0.0.0.0"])


@contextmanager
def script(tmp_path, *args: str):
    """Another Python process, in a group of its own, that starts the program and prints "up"."""
    code = (
        "import sys; from sglang_soft.server.process import Server\n"
        "with Server(sys.argv[1:], entry='stand_in', timeout=60) as server:\n"
        "    print('up', flush=True); server.wait()\n"
    )
    command = [sys.executable, "-c", code, "--pids", str(tmp_path / "pids"), *args]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("healthy", [True, False])
def test_ctrl_c_ends_the_server(program, tmp_path, healthy):
    """Both while the server is awaited and after that."""
    with script(tmp_path, *([] if healthy else ["--ill", "1000000"])) as process:
        pids(tmp_path)
        if healthy:
            while process.stdout.readline() != "up\n":
                assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)  # what a terminal does
        assert process.wait(30) != 0
        assert_ended(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")
def test_the_server_ends_when_its_parent_is_killed(program, tmp_path):
    with script(tmp_path) as process:
        server, child = pids(tmp_path)
        process.kill()
        process.wait()
        deadline = time.monotonic() + 10
        while is_running(server):
            assert time.monotonic() < deadline, "the server outlived its parent"
            time.sleep(0.01)
        os.kill(child, signal.SIGKILL)  # the program leaves its child alone; SGLang does not


def test_it_imports_neither_torch_nor_sglang():
    code = (
        "import sys, sglang_soft.server.process\n"
        "sys.exit(bool({'torch', 'sglang', 'requests', 'httpx'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, "127.0.0.1,localhost,::1"),
        ({"no_proxy": "a.example, localhost"}, "a.example,localhost,127.0.0.1,::1"),
        ({"NO_PROXY": "b"}, "b,127.0.0.1,localhost,::1"),
    ],
)
def test_a_server_does_not_ask_itself_through_a_proxy(before, after):
    env = {"http_proxy": "http://proxy:3128", **before}
    assert without_proxy(env) == {**env, "no_proxy": after, "NO_PROXY": after}


def test_a_proxy_that_is_off_stays_off():
    assert without_proxy({"no_proxy": "*"}) == {"no_proxy": "*"}
