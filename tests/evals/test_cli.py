import importlib.util

import pytest
from sglang_soft_evals import cli, config, run
from sglang_soft_evals.session import Outcome

from launch import ROOT
from sglang_soft.server import cli as plugin
from tests.evals.fake_server import serving
from tests.evals.runs import METHODS, keys

RUNS = ROOT / "evals" / "runs"
DONE = Outcome(True, {}, None, {})


def test_eval_is_handed_over(capsys):
    with pytest.raises(SystemExit) as end:
        plugin.main(["eval", "list"])
    assert end.value.code == 0 and "| arith | 500 |" in capsys.readouterr().out


def test_a_missing_extra_is_named(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "sgl_eval" else find(name)
    )
    with pytest.raises(SystemExit, match=r"needs the extra: pip install .*sglang-soft\[evals\]"):
        plugin.main(["eval", "list"])


def test_run_reports_and_goes_on(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    methods = "".join(f'[[methods]]\nname = "{m["name"]}"\n' for m in METHODS)
    (tmp_path / "my.toml").write_text(
        f'benchmark = "arith"\nserver = {{model = "bundled"}}\n{methods}'
    )
    with serving() as server:
        for expected in (1, 0):  # the second call finds nothing left to ask
            before = len(server.asked)
            with pytest.raises(SystemExit) as end:
                cli.main(
                    [
                        "run",
                        "my.toml",
                        "--base-url",
                        server.base_url,
                        "--questions",
                        "6",
                        "--samples",
                        "2",
                    ]
                )
            assert end.value.code == 0
            assert len(server.asked) - before == 3 + 36 * expected
    out = capsys.readouterr().out
    assert out.count("complete; 36 ok") == 2
    assert len(keys(tmp_path / "results" / "my")) == 36
    assert "report.md" in out and "report.html" in out


@pytest.mark.parametrize("file", sorted(RUNS.glob("*.toml")), ids=lambda file: file.stem)
def test_a_model_in_place_of_the_run_files(file, monkeypatch, tmp_path):
    """Every run file of the repository; what would be run is caught."""
    monkeypatch.setattr(run, "execute", lambda settings, *_, **__: ran.append(settings) or DONE)
    ran: list[config.RunConfig] = []
    with pytest.raises(SystemExit) as end:
        cli.main(["run", str(file), "--model", "other/model", "--out", str(tmp_path)])
    assert end.value.code == 0 and ran[0].server.model == "other/model"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["run", "none.toml"], "error: there is no run file none.toml"),
        (["report", "nowhere"], "error: nowhere has no run.json"),
        (["export", "nowhere"], "error: nowhere has no run.json"),
        (["check", "mine.json"], "error: mine.json is not named after a benchmark"),
    ],
)
def test_errors_of_the_user_are_one_line(argv, message):
    with pytest.raises(SystemExit) as end:
        cli.main(argv)
    assert str(end.value.code).startswith(message)
