"""Every code block of the pages is run, here or by a test that it names, or says why it is not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import ADDRESS, CODE, ROOT, TEXT, Block, every, read, same_output

BLOCKS = every()
RUN = [b for b in BLOCKS if b.language in CODE and b.mark is None and b.can_run]
ALONE = [b for b in RUN if not b.needs_server]
ASKING = [b for b in RUN if b.needs_server]


def where(block: Block) -> str:
    return block.where


@pytest.mark.parametrize("block", BLOCKS, ids=where)
def test_is_run_or_says_why_not(block):
    assert block.language in CODE + TEXT, f"{block.where}: name the language, one of {CODE + TEXT}"
    if block.language in CODE and block not in RUN:
        assert block.mark and block.about, f"{block.where}: <!-- not run: REASON -->, or run by"
    if block.mark == "run by":
        assert (ROOT / block.about).is_file(), f"{block.where}: {block.about} does not exist"
    assert block.output is None or block in RUN, f"{block.where}: nobody compares its output"


def test_every_way_to_run_a_block_is_used():
    """An empty selection would let everything pass."""
    assert {b.language for b in ALONE} == {"python", "bash"}
    assert {b.language for b in ASKING} == {"python", "bash"}
    assert any(b.output for b in ASKING)
    assert {b.mark for b in BLOCKS} == {None, "not run", "run by"}


def test_what_counts_as_run():
    text = "```bash\nmake x\n```\n<!-- not run: slow -->\n```bash\nmake x\n```\n```c\nx\n```\n"
    unmarked, marked, unknown = read(text, "page")
    assert unmarked.mark is None and not unmarked.can_run
    assert (marked.mark, marked.about, marked.line) == ("not run", "slow", 5)
    assert unknown.language not in CODE + TEXT
    (block,) = read("```bash\n# so\nsglang-soft x\ncurl -d '{\n  1}' \\\n  y\n```\n", "page")
    assert block.commands == ["sglang-soft x", "curl -d '{\n  1}' \\\n  y"] and block.can_run
    (block,) = read("```python\n1\n```\n\n<!-- output -->\n```text\n1\n```\n", "page")
    assert block.output == "1\n"
    with pytest.raises(ValueError, match="page:2: the output of which"):
        list(read("<!-- output -->\n```text\n1\n```\n", "page"))
    with pytest.raises(ValueError, match="page:1: the fence is not closed"):
        list(read("```python\n1\n", "page"))


def test_what_counts_as_the_same_output():
    assert same_output("42 tokens\n[0.62, 1.1e-08]", "42 tokens [0.6204, 1.09e-08]")
    assert not same_output("42 tokens 0.62", "43 tokens 0.62")
    assert not same_output("0.62 nats", "0.63 nats")
    assert not same_output("0.62 nats", "0.62 bits")
    assert not same_output("[1, 2]", "[1, 2, 3]")


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
    if block.output is not None:
        assert same_output(block.output, done.stdout), f"{block.where} printed:\n{done.stdout}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("block", ALONE, ids=where)
def test_block(block, tmp_path):
    output = run(block, tmp_path)
    if block.language == "bash":
        assert output, f"{block.where} printed nothing"


@pytest.mark.parametrize("block", ASKING, ids=where)
def test_block_that_asks_a_server(block, tmp_path, server):
    output = run(block, tmp_path, server.removeprefix("http://"))
    if "43*34" in block.text:
        assert "1462" in output, f"{block.where}: the answer to 43*34 is not in {output!r}"
    assert '"error"' not in output, f"{block.where}: {output}"
