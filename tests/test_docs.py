"""The pages: the README is short, links lead somewhere, tables and lists agree with the code."""

import importlib.util
import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from launch.bench.page import write_section
from sglang_soft.server import cli, limits
from sglang_soft.trace import FINISH_REASONS
from tests.docs.blocks import PAGES, ROOT

MORE = [ROOT / name for name in ("CHANGELOG.md", "BENCHMARKS.md", "evals/README.md")]


NOT_OURS = {
    "my_methods.py",
    "my_rules.py",
    "generation_utils.py",
    "report.md",
    "__init__.py",
    "cpu.py",
    "triton.py",
}
"""Files that the pages name and the repository does not hold, or holds many times."""


@pytest.fixture(scope="module")
def tables():
    """The module `docs/tables.py`."""
    spec = importlib.util.spec_from_file_location("docs_tables", ROOT / "docs" / "tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_readme_takes_ten_minutes():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and mkdocs make them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = [unicodedata.normalize("NFKD", h).lower() for h in headings]
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", h).strip()) for h in plain}


@pytest.mark.parametrize("page", [*PAGES, *MORE], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text()):
        if "://" in target:
            continue
        file = page.parent / target if target else page
        assert file.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(file.read_text()), f"{page.name}: #{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_are_those_of_the_code(page, tables):
    text = page.read_text()
    assert tables.filled(text) == text, f"{page.name} is not up to date: python docs/tables.py"


def test_every_table_is_on_a_page(tables):
    found = [name for page in PAGES for name in tables.names(page.read_text())]
    assert sorted(found) == sorted(tables.TABLES)
    assert tables.escaped("<a> `<b>` </c> 1 < 2") == "&lt;a> `<b>` &lt;/c> 1 < 2"
    page = tables.filled("a\n<!-- table: hooks -->\nold\n<!-- end -->\nb")
    assert page == f"a\n<!-- table: hooks -->\n\n{cli.hooks_table()}\n\n<!-- end -->\nb"


def defines(file: Path, name: str) -> bool:
    """Whether a Python file defines what `Class.method` or `name` calls so."""
    text = file.read_text()
    patterns = (rf"(?:def|class) {part}\b|^\s*{part}\b.*=" for part in name.split("."))
    return all(re.search(pattern, text, re.MULTILINE) for pattern in patterns)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_names_in_the_text_exist(page):
    """`file.py`, `folder/` and `file.py: name`. Files may leave out the folder sglang_soft/."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    text = " ".join(text.split())  # a name may go over the end of a line
    for path, name in re.findall(r"`([\w./]+(?:\.py|\.md|/))(?:: ([\w.]+))?`", text):
        if path in NOT_OURS:
            continue
        found = [root / path for root in (ROOT, ROOT / "sglang_soft") if (root / path).exists()]
        assert found, f"{page.name}: {path}"
        assert not name or defines(found[0], name), f"{page.name}: {path}: {name}"
    tests = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", text):
        assert f"def {name}(" in tests, f"{page.name}: {name}"
    for path, name in re.findall(r"`([\w./]+)?::(test_\w+)`", text):
        files = [ROOT / path] if path else list((ROOT / "tests").rglob("*.py"))
        found = any(f"def {name}(" in file.read_text() for file in files)
        assert found, f"{page.name}: {path}::{name}"
    patches = "".join(file.read_text() for file in (ROOT / "tests" / "mutants").glob("*.py"))
    for name in re.findall(r"mutant `([\w-]+)`", text):
        assert f"def {name.replace('-', '_')}(" in patches, f"{page.name}: {name}"


def test_what_the_pages_list_is_all_there_is():
    parameters = (ROOT / "docs" / "parameters.md").read_text()
    for reason in FINISH_REASONS:
        assert f"`{reason}`" in parameters, reason
    refused = (ROOT / "docs" / "deployment.md").read_text().split("## What is refused", 1)[1]
    refused = refused.lower()
    names = [name for *_, name in limits.SERVER_LIMITS] + [n for _, n in limits.REQUEST_LIMITS]
    for name in [*names, "beam search"]:
        assert name.lower() in refused, name


def test_the_benchmark_writes_into_its_page(tmp_path, tables, monkeypatch):
    page = tmp_path / "BENCHMARKS.md"
    page.write_text((ROOT / "BENCHMARKS.md").read_text())
    write_section(page, "gpu", "| a | table |")
    monkeypatch.setattr(tables, "MEASURED", page)
    assert tables.on_page_markdown("x <!-- measured: gpu --> y") == "x | a | table | y"
    assert "<!-- measured: gpu -->" in (ROOT / "docs" / "benchmarks.md").read_text()


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("material") is None,
    reason="mkdocs-material is not installed (extra: docs)",
)
def test_mkdocs_finds_no_fault(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    path = map(str, (ROOT, ROOT / "kernels", ROOT / "evals"))
    path = os.pathsep.join([*path, os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    methods = (tmp_path / "methods.html").read_text()
    assert "gumbel_softmax_temperature" in methods and "swireasoning" in methods
    assert "available" in (tmp_path / "benchmarks.html").read_text()
