import pytest
from sglang_soft_evals import agreement, report

from tests.evals.synthetic import Synthetic


@pytest.fixture(scope="session")
def verdicts():
    """Every answer variant, graded by both graders."""
    return agreement.judge()


@pytest.fixture(scope="session")
def complete(tmp_path_factory):
    """Folder of a complete run, its records, its Markdown and its page."""
    made = Synthetic()
    folder = made.write(tmp_path_factory.mktemp("complete"))
    paths = report.write(folder)
    assert paths == (folder / "report.md", folder / "report.html")
    return folder, made.records(), paths[0].read_text(), paths[1].read_text()
