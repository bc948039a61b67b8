"""The commands of docs/evals.md: each is run here, in its order, or marked with what it needs."""

import re
import shlex
from pathlib import Path

import orjson
import pytest
from sglang_soft_evals import agreement, benchmarks, cli, loading, run

from tests.evals.fake_server import reply, serving
from tests.evals.runs import small

PAGE = (Path(__file__).parents[2] / "docs" / "evals.md").read_text()
MARKS = ("network", "GPU", "starts a server")
SERVER = "http://127.0.0.1:30000"


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    return "".join(blocks).replace("\\\n", " ").splitlines()


def marked(command: str) -> bool:
    return any(mark in command.partition("#")[2] for mark in MARKS)


@pytest.fixture
def place(tmp_path, monkeypatch, verdicts):
    """A folder with the files that the commands read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(agreement, "judge", lambda: verdicts)  # takes seconds, and is tested
    Path("my.toml").write_text(PAGE.split("```toml\n", 1)[1].split("```", 1)[0])
    rows = loading.load(benchmarks.get("aime2024"))
    Path("aime2024.json").write_bytes(
        orjson.dumps([{"question": q.question, "answer": q.answer} for q in rows[:3]])
    )
    data, code = Path("code.json"), Path("results/humaneval")
    data.write_bytes(orjson.dumps([{"id": "HumanEval/0", "question": "def f():", "answer": "-"}]))
    code.mkdir(parents=True)
    changes = {"benchmark": "humaneval", "data": str(data), "questions": 1, "samples": 1}
    with serving(lambda request: reply(request, "```python\npass\n```")) as server:
        run.execute(small(server.base_url, methods=[{"name": "CoT"}], **changes), code)
    scores = {"eval": {"HumanEval/0": [{"base_status": "pass", "plus_status": "pass"}]}}
    (code / "export").mkdir()
    (code / "export" / "cot_eval_results.json").write_bytes(orjson.dumps(scores))


@pytest.mark.slow
def test_every_command_runs_or_says_what_it_needs(place, capsys):
    ran = set()
    with serving(lambda request: reply(request, "\\boxed{1}")) as server:
        for command in filter(lambda c: not marked(c), commands()):
            words = shlex.split(command, comments=True)
            assert words[:2] == ["sglang-soft", "eval"], f"{command}: neither run nor marked"
            target = Path(words[words.index(">") + 1]) if ">" in words else None
            argv = words[2 : words.index(">") if target else None]
            with pytest.raises(SystemExit) as end:
                cli.main([server.base_url if word == SERVER else word for word in argv])
            output = capsys.readouterr().out
            assert end.value.code == 0, (command, output)
            if target is not None:
                target.write_text(output)
            ran.add(argv[0])
        assert len(server.asked) == 2 + 30 * 8 * 2
    assert ran == {"run", "report", "paper", "export", "scores", "check", "graders", "questions"}
    assert len(Path("arith.jsonl").read_text().splitlines()) == 40
    assert "Complete: all 480 answers" in Path("results/my/report.md").read_text()
    assert '"correct":true' in Path("results/humaneval/samples.jsonl").read_text()


@pytest.mark.slow
def test_the_figures_of_the_graders_are_those_of_the_command(verdicts):
    assert f"# {len(verdicts)} variants" in PAGE
