"""A process that has imported SGLang, and forks: engines under test start in 5 seconds, not 50.

Almost all of a cold start is imports: 25 s of CPU in each of SGLang's three processes. Here they are
done once for a whole test run. Every engine under test is a fork of that process, in a process of
its own with an environment of its own, and it forks its schedulers and its detokenizer where SGLang
would spawn them. What only a spawned process does (import everything, load the plugins by itself)
is left to the tests of the HTTP server, which start it as a user does.

    python -m tests.engine.preloaded FOLDER PID    ends when the process PID has ended
"""

import fcntl
import importlib
import multiprocessing
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parents[2]
FOLDER = "SGLANG_SOFT_TEST_PRELOADED"
"""Environment variable: folder of this test run's process, with its socket and its log."""
OWNER = "SGLANG_SOFT_TEST_PRELOADED_OWNER"
"""Environment variable: the process id of the test run."""
MODULES = (
    "numba",
    "sglang.srt.entrypoints.engine",
    "sglang.srt.managers.detokenizer_manager",
    "sglang.srt.managers.scheduler",
    "sglang.srt.managers.tokenizer_manager",
    "sglang.srt.managers.tp_worker",
    "sglang.srt.models.registry",
)
RETRACT = ("TEST_RETRACT", "TEST_RETRACT_INTERVAL", "TEST_RETRACT_NO_PREFILL_BS")
"""What `sglang.srt.managers.scheduler` reads from the environment when it is imported."""


def owned_by_this_process() -> None:
    """Have the processes of this test run, this one and its workers, share one process."""
    if FOLDER not in os.environ:
        os.environ[FOLDER] = f"{tempfile.gettempdir()}/sglang-soft-{os.getpid()}"
        os.environ[OWNER] = str(os.getpid())


def start() -> Path:
    """Start the process unless it runs; does not wait for its imports. Returns its folder."""
    folder = Path(os.environ[FOLDER])
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock, (folder / "log").open("a") as log:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one of the workers starts it
        if not (folder / "pid").exists():
            process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", __name__, str(folder), os.environ[OWNER]],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            (folder / "pid").write_text(str(process.pid))
    return folder


def is_running(folder: Path) -> bool:
    """The process of `start` has not failed."""
    try:
        return bool(Path("/proc", (folder / "pid").read_text(), "cmdline").read_bytes())
    except OSError:
        return False


def main(folder: Path, owner: int) -> None:
    try:
        # SGLang's helpers for vocabulary shards would be compiled by a C++ compiler, for 20 s.
        os.environ["TORCHDYNAMO_DISABLE"] = "1"
        for module in MODULES:
            importlib.import_module(module)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the engines
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(folder / "loading"))
        listener.listen()
        (folder / "loading").rename(folder / "socket")
        ended = os.pidfd_open(owner)
        while ended not in select.select([listener, ended], [], [])[0]:
            accepted, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _serve(Connection(accepted.detach()))
            accepted.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _serve(connection: Connection) -> NoReturn:
    """In the fork: run an engine as the first message says, until the connection ends."""
    status = 1
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        job = connection.recv()
        _write_output_to(job["log"])
        os.environ.clear()
        os.environ.update(job["environment"])
        _read_environment_again()
        set_method = multiprocessing.set_start_method
        multiprocessing.set_start_method = lambda _, force=False: set_method("fork", force=True)
        importlib.import_module("tests.engine.inside").serve(connection, job)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _write_output_to(log: Path) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for standard in (1, 2):
        os.dup2(file, standard)


def _read_environment_again() -> None:
    from sglang.srt.environ import envs
    from sglang.srt.managers import scheduler

    for name in RETRACT:
        assert hasattr(scheduler, name)
        setattr(scheduler, name, getattr(envs, f"SGLANG_{name}").get())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
