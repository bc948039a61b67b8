from sglang_soft_evals.progress import Progress

from tests.evals.runs import record


def test_the_bars_of_a_terminal_show_accuracy_and_tokens(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    progress = Progress(["a", "b"], 4, [record(method="a", correct=True, completion_tokens=10)])
    progress.tick(record(method="a", correct=False, completion_tokens=20))
    progress.tick(record(method="b", correct=None, completion_tokens=10))
    progress.close()
    shown = capsys.readouterr().err
    assert "2/4" in shown and "accuracy 50.0%, 15 tokens" in shown
    assert "accuracy -, 10 tokens" in shown


def test_lines_show_the_same_elsewhere(capsys):
    progress = Progress(["a"], 2, [])
    progress.tick(record(method="a", correct=True, completion_tokens=10))
    progress.close()
    assert capsys.readouterr().err == "a: 1/2  accuracy 100.0%, 10 tokens\n"
