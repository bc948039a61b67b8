"""Every code block of the pages is run here, or says on the line before it why it is not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import ADDRESS, CODE, ROOT, TEXT, Block, every, read

BLOCKS = every()
RUN = [b for b in BLOCKS if b.language in CODE and b.reason is None and b.can_run]
ALONE = [b for b in RUN if not b.needs_server]
ASKING = [b for b in RUN if b.needs_server]


def where(block: Block) -> str:
    return block.where


@pytest.mark.parametrize("block", BLOCKS, ids=where)
def test_is_run_or_says_why_not(block):
    assert block.language in CODE + TEXT, f"{block.where}: name the language, one of {CODE + TEXT}"
    if block.language in CODE:
        run = block in RUN
        assert run or block.reason, f"{block.where} is not run: <!-- not run: REASON -->"


def test_every_way_to_run_a_block_is_used():
    """An empty selection would let everything pass."""
    assert {b.language for b in ALONE} == {"python", "bash"}
    assert {b.language for b in ASKING} == {"python", "bash"}


def test_what_counts_as_run():
    text = "```bash\nmake x\n```\n<!-- not run: slow -->\n```bash\nmake x\n```\n```sh\nx\n```\n"
    unmarked, marked, unknown = read(text, "page")
    assert unmarked.reason is None and not unmarked.can_run
    assert marked.reason == "slow" and marked.line == 5
    assert unknown.language not in CODE + TEXT
    (block,) = read("```bash\n# so\nsglang-soft x\ncurl -d '{\n  1}' \\\n  y\n```\n", "page")
    assert block.commands == ["sglang-soft x", "curl -d '{\n  1}' \\\n  y"] and block.can_run
    (block,) = read("```console\n$ python -c 1\nout\n```\n", "page")
    assert block.commands == ["python -c 1"] and block.can_run


def run(block: Block, folder: Path, address: str = ADDRESS) -> str:
    """Run a block in a process of its own; returns what it printed. Fails if it fails."""
    text = block.text.replace(ADDRESS, address)
    path = os.pathsep.join(map(str, (ROOT, ROOT / "kernels", ROOT / "evals")))
    environment = os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([path, os.environ.get("PYTHONPATH", "")]),
        "NO_PROXY": "127.0.0.1",
    }
    if block.language == "python":
        command = [sys.executable, "-c", text]
    else:
        commands = block._replace(text=text).commands
        command = ["bash", "-euo", "pipefail", "-c", "\n".join(commands)]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{block.where}: {done.stderr[-2000:]}"
    return done.stdout


@pytest.mark.parametrize("block", ALONE, ids=where)
def test_block(block, tmp_path):
    output = run(block, tmp_path)
    if block.language == "bash":
        assert output, f"{block.where} printed nothing"


@pytest.mark.parametrize("block", ASKING, ids=where)
def test_block_that_asks_a_server(block, tmp_path, server):
    output = run(block, tmp_path, server.removeprefix("http://"))
    assert "1462" in output, f"{block.where}: the answer to 43*34 is not in {output!r}"
