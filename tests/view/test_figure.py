"""The figure of a thought: what is in its cells, and the command that draws it."""

import warnings

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from sglang_soft.trace import Steps, Trace
from sglang_soft.view import figure, figure_command

ROWS = [([4, 5, 6], [0.7, 0.2, 0.1]), ([7, 4], [0.6, 0.4]), ([5], [1.0])]
TEXTS = {4: " $x_2$", 5: "\x1b[2J", 6: "\U000f1234\u0378", 7: "</think>", 8: "other"}


def trace(repeat: int = 1, emitted: tuple[int, ...] = (4, 4, 8)) -> Trace:
    steps = Steps(4)
    for ids, weights in ROWS * repeat:
        steps.append(np.array(ids, np.int32), np.array(weights, np.float32), 0.5)
    return Trace(
        method="soft", steps=steps, start=3, prompt_ids=np.array([1, 2], np.int32),
        output_ids=np.array([9, *(emitted * repeat), 9], np.int32), params={"max_topk": 4},
    )  # fmt: skip


def texts(ids):
    return [TEXTS[i] for i in ids]


def drawn(made: Figure) -> list[list[str]]:
    """The texts of each band that stand in it."""
    bands = [axes for axes in made.axes if axes.patches or axes.get_title() != "weight"]
    return [[t.get_text() for t in axes.texts if t.get_text()] for axes in bands if axes.texts]


def test_cells_are_the_concept_tokens():
    found = figure.cells(trace())
    assert found.ids[:, 0].tolist() == [4, 7, 5] and found.emitted.tolist() == [4, 4, 8]
    assert found.ids.shape == (3, 3), "rows without weight are left out"
    (band,) = drawn(figure.draw(found, texts))
    assert band == ["·$x_2$", "\\u{1B}[…", "\\u{F123…", "</think>", "·$x_2$", "\\u{1B}[…", "other"]


def test_the_emitted_token_has_a_frame_or_stands_above():
    axes = figure.draw(figure.cells(trace()), texts).axes[0]
    frames = [(p.get_x(), p.get_y()) for p in axes.patches if isinstance(p, Rectangle)]
    assert [(int(x), int(y)) for x, y in frames] == [(0, 0), (1, 1)]
    above = [t for t in axes.texts if t.get_position()[1] < 0]
    assert [(t.get_text(), t.get_position()[0]) for t in above] == [("other", 2.5)]


def test_a_long_thought_wraps():
    made = figure.draw(figure.cells(trace(10)), texts, columns=12)
    assert len(drawn(made)) == 3
    labels = [[t.get_text() for t in axes.get_xticklabels()] for axes in made.axes[:3]]
    assert (
        labels[0][0] == "0"
        and labels[1][0] == "12"
        and labels[2] == [str(i) for i in range(24, 30)]
    )
    tops = [axes.get_position().y0 for axes in made.axes[:3]]
    assert tops == sorted(tops, reverse=True) and min(tops) > 0
    part = figure.cells(trace(10), slice(4, 7), 1)
    assert part.ids[:, 0].tolist() == [7, 5, 4] and part.emitted.tolist() == [4, 8, 4]
    assert part.first == 4


def test_without_texts_ids_are_written():
    assert drawn(figure.draw(figure.cells(trace()), None))[0][:3] == ["4", "5", "6"]


@pytest.mark.parametrize("suffix", [".png", ".pdf"])
def test_files_are_drawn_without_a_warning_and_repeat(tmp_path, suffix):
    """A glyph that no font has, or mathematics in a token, would warn or fail."""
    files = []
    for i in range(2):
        files.append(tmp_path / f"{i}{suffix}")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            figure.save(figure.draw(figure.cells(trace(3)), texts, 5, "$\\frac{"), files[-1])
    data = files[0].read_bytes()
    assert data.startswith(b"\x89PNG" if suffix == ".png" else b"%PDF") and len(data) > 5000
    assert data == files[1].read_bytes()


@pytest.mark.parametrize(
    ("steps", "candidates", "words"),
    [
        (slice(3, None), None, ["3 steps", "3:None"]),
        (slice(2, 1), None, ["2:1"]),
        (slice(None), 0, ["[1, 4]", "0"]),
        (slice(None), 5, ["[1, 4]", "5"]),
    ],
)
def test_what_cannot_be_drawn_is_named(steps, candidates, words):
    with pytest.raises(ValueError) as error:
        figure.cells(trace(), steps, candidates)
    assert all(word in str(error.value) for word in words), error.value
    with pytest.raises(ValueError, match="at most 20000"):
        figure.cells(trace(3000))
    with pytest.raises(ValueError, match="no thinking step"):
        figure.cells(Trace(method="soft", steps=Steps(4)))


def run(*args) -> None:
    figure_command.main([str(a) for a in args])


def test_the_command(tmp_path, capsys):
    file = tmp_path / "t.npz"
    trace(4).save(file)
    outs = [tmp_path / "a.png", tmp_path / "b.pdf"]
    run(file, "--out", outs[0], "--out", outs[1], "--steps", "1:", "--candidates", 2)
    said = capsys.readouterr()
    assert all(out.stat().st_size > 1000 for out in outs)
    assert said.out.count("11 steps of 2 candidates") == 2
    assert "--tokenizer" in said.err, "the tokens' texts are not known"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--out", "x.svg"], [".png or .pdf", "x.svg"]),
        (["--steps", "1-2"], ["A:B", "'1-2'"]),
        (["--steps=-1:"], ["A:B", "'-1:'"]),
        (["--columns", "0"], ["columns", ">= 1"]),
        (["--tokenizer", "/nowhere"], ["/nowhere"]),
    ],
)
def test_wrong_arguments_are_one_line(tmp_path, capsys, monkeypatch, args, words):
    monkeypatch.chdir(tmp_path)
    trace().save(tmp_path / "t.npz")
    with pytest.raises(SystemExit) as ended:
        run(tmp_path / "t.npz", *args)
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.startswith("error: ") and said.count("\n") == 1
    assert all(word in said for word in words), said
    with pytest.raises(SystemExit):
        run(tmp_path / "none.npz")
    assert "none.npz" in capsys.readouterr().err
