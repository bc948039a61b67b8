"""`make counterfactual`: its changes, its counts and intervals, and a few steps on a real server."""

import json

import numpy as np
import pytest

from launch.counterfactual.__main__ import main, table
from launch.counterfactual.asking import Asked
from launch.counterfactual.measure import (
    CHANGES,
    UNCHANGED,
    Found,
    changed,
    deciding,
    ends_with,
    first_known,
    interval,
    loss,
    measure,
)
from launch.counterfactual.picture import draw
from tests.unit.test_editing import END, thought


def test_each_change_of_a_step():
    trace = thought([[10], [20, 21, 22], [30]], [[1.0], [0.5, 0.3, 0.2], [1.0]])
    found = changed(trace, 1)
    assert list(found) == [UNCHANGED, *CHANGES]
    assert {place for _, place in found.values()} == {"next"}
    fed = [t.concept(1).ids.tolist() for t, _ in found.values()]
    assert fed == [[20, 21, 22], [20], [21], [21, 22]]
    assert all(len(t.steps) == 2 for t, _ in found.values())


def test_think_end_in_place_of_a_step_is_answered_at_once():
    found = changed(thought([[10], [20, END]], [[1.0], [0.75, 0.25]]), 1)
    for change in CHANGES[1:]:
        trace, place = found[change]
        assert (len(trace.steps), place) == (1, "answer")


def test_the_last_number_of_the_answer_counts():
    assert ends_with("1290+172 is 1462</think>\nAnswer: 1462", "1462")
    assert ends_with("\nAnswer: 1462", "1462"), "from the answer on"
    assert not ends_with("1290+172 is 1462</think>\nAnswer: 1463", "1462")
    assert not ends_with("</think>\nAnswer: 146", "1462")
    assert not ends_with("1290+172 is 1462", "1462"), "no answer"


def test_intervals():
    # Wilson's, as scipy.stats.binomtest(...).proportion_ci(method="wilson") gives them.
    assert interval(0, 16) == pytest.approx((0.0, 0.19361), abs=1e-4)
    assert interval(5, 16) == pytest.approx((0.14164, 0.55604), abs=1e-4)
    assert interval(16, 16) == pytest.approx((0.80639, 1.0), abs=1e-4)


def of(drawn: list[int], known: list[float]) -> Found:
    count, n = len(drawn), 16
    found = Found("What is 6*7?", "42", "a thought", "Answer: 42", n)
    found.tokens, found.entropy, found.known = ["6"] * count, [0.0] * count, known
    found.candidates = [[("6", 1.0), ("\n", 1e-9)]] * count
    found.drawn = {UNCHANGED: [16] * count, **dict.fromkeys(CHANGES, drawn)}
    found.soft = {c: [True] * count for c in (UNCHANGED, *CHANGES)}
    return found


def test_what_is_beyond_doubt(tmp_path):
    found = of([16, 14, 4], [0.0, 0.9, 0.2, 0.6])
    assert deciding(found, CHANGES[1]) == [2]
    value, low, high = loss(found, CHANGES[1], 2)
    assert value == 0.75 and 0.4 < low < 0.75 < high <= 1
    assert first_known(found) == 3 and first_known(of([16], [0.0, 0.1])) is None
    assert first_known(of([16], [0.7, 0.9])) == 0
    assert "| 2 | `6` 1, `\\n` 1e-09 | 0.60 | 4 [0.10, 0.49] right |" in table(found)
    assert Found.from_json(json.loads(json.dumps(found.to_json()))).drawn == found.drawn
    draw(found, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000


def test_bad_arguments_and_no_server(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["-n", "0"])
    assert "-n must be >= 1; got 0" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="error: "):
        main(["--url", "http://127.0.0.1:9"])


def test_the_first_steps_of_43_times_34(server):
    found = measure(Asked(server), "What is 43*34?", "1462", 2, most=3)
    assert found.thought.startswith("Right") and found.answer.strip() == "Answer: 1462"
    assert found.tokens[0] == "Right" and found.candidates[0][1][0] == "Left"
    assert found.entropy[0] == pytest.approx(0.91, abs=0.01), "as the model card says"
    assert len(found.known) == 4 and max(found.known) < 0.01
    assert found.drawn[UNCHANGED] == found.drawn[CHANGES[0]] == [2, 2, 2]
    assert found.drawn[CHANGES[1]] == [2, 0, 0], "another way of working; another task"
    assert np.all(found.soft[UNCHANGED]) and not found.soft[CHANGES[1]][2]
