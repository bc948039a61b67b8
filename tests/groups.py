"""Which tests run in one process, where several processes share them (pytest -n 2).

pytest-xdist keeps tests together by their ids alone: its marker xdist_group has no effect with
pytest 9.2 (pytest-xdist issue 1386).
"""

import re
from functools import cache
from pathlib import Path

from tests.engine.setups import SETUPS

ROOT = Path(__file__).parents[1]
SERVER = {
    "tests/client/test_server.py",
    "tests/client/test_thoughts.py",
    "tests/docs/test_blocks.py",
    "tests/engine/test_bad_traces.py",
    "tests/engine/test_endpoints.py",
    "tests/engine/test_kept.py",
    "tests/engine/test_lang.py",
    "tests/engine/test_server.py",
    "tests/engine/test_stop_http.py",
    "tests/engine/test_stops.py",
    "tests/engine/test_verify.py",
    "tests/launch/test_programs.py",
    "tests/evals/test_clients.py",
    "tests/evals/test_kill.py",
    "tests/evals/test_real_server.py",
    "tests/launch/test_counterfactual.py",
    "tests/launch/test_train_soft.py",
    "tests/launch/test_bench_fork.py",
}
"""Files with tests that ask the one HTTP server."""
HEAVY = (
    "import sglang\n",
    "from sglang.",
    "from transformers",
    "tests.models",
    "loaded(",
    "build_parser",
)
"""Text of files whose tests import SGLang or transformers; the fixture `loaded` loads models."""


def group_of(nodeid: str) -> str:
    """Tests of one group share a process: an engine, the server, the 20 s that an import of SGLang
    or transformers takes, or the fixtures of a file."""
    file, _, test = nodeid.partition("::")
    if file.startswith("tests/engine/"):
        names = sorted(SETUPS, key=len, reverse=True)  # "retract" is a part of others
        if found := re.search(rf"[\[-]({'|'.join(names)})[\]-]", test):
            return f"engine {found[1]}"
    if file in SERVER:
        return "server"
    return "imports" if _imports_much(ROOT / file) else file


@cache
def _imports_much(file: Path) -> bool:
    text = file.read_text()
    return any(words in text for words in HEAVY)
