"""The pages: the README is short, links lead somewhere, tables come from the code."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest

from sglang_soft.server import cli
from tests.docs.blocks import PAGES, ROOT

CHANGELOG = ROOT / "CHANGELOG.md"


def load_hook():
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_readme_takes_ten_minutes():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


@pytest.mark.parametrize("page", [*PAGES, CHANGELOG], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_tables_come_from_the_code():
    hook = load_hook()
    asked = []
    for page in PAGES:
        text = page.read_text()
        asked += hook.MARK.findall(text)
        filled = hook.with_tables(text)
        assert not hook.MARK.search(filled)
    assert sorted(asked) == sorted(hook.TABLES)
    assert hook.with_tables("a\n<!-- table: hooks -->\nb") == f"a\n\n{cli.hooks_table()}\n\nb"


@pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None, reason="mkdocs is not installed (extra: docs)"
)
def test_mkdocs_finds_no_fault(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    path = os.pathsep.join([str(ROOT), str(ROOT / "kernels"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    methods = (tmp_path / "methods.html").read_text()
    assert "gumbel_softmax_temperature" in methods and "<!-- table" not in methods
