"""The registry of thinking methods."""

import subprocess
import sys

THREADS = """
import threading
from sglang_soft import methods

barrier, found = threading.Barrier(8), []

def ask():
    barrier.wait()
    found.append(methods.names())

threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(found) == 8 and len(set(found)) == 1, found
"""


def test_threads_that_ask_at_once_get_one_registry():
    """The first use fills it, and a client may well have many threads by then."""
    done = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
