"""The verdict of `sglang-soft verify` and its words."""

import math
from dataclasses import replace

import pytest

from sglang_soft.verify import Report, Step


def report(*steps: tuple[float, float], tolerance: float = 0.001, gap: float = 0.2) -> Report:
    """steps: deviations of weights and of entropy."""
    found = [Step(i, w, e, None, 1, 1, gap) for i, (w, e) in enumerate(steps)]
    return Report("soft", "bfloat16", "server x", "float32", tolerance, found)


def test_a_sound_trace():
    found = report((0.0, 0.0), (0.0005, 0.0001))
    assert found.sound and found.first_bad is None
    assert found.to_json()["margin"] == pytest.approx(0.0005)
    text = str(found)
    assert "made in bfloat16; reference server x in float32" in text
    assert "sound: tolerance 0.001, of which step 1 uses most, 0.0005" in text and "NOT" not in text


@pytest.mark.parametrize("bad", [(0.0039, 0.0), (0.0, 0.0039)])
def test_the_first_step_beyond_the_tolerance_is_named_with_its_margin(bad):
    found = report((0.0, 0.0), bad, (0.5, 0.5))
    assert found.first_bad is not None and found.first_bad.step == 1
    assert found.to_json()["first_bad_step"]["margin"] == pytest.approx(-0.0029)
    assert "first at step 1:" in str(found) and "0.0029 beyond the tolerance" in str(found)
    assert "rounding did not decide" in str(found)
    assert "rounding may have decided" in str(report(bad, gap=0.0005))


@pytest.mark.parametrize("bad", [(math.nan, 0.0), (0.0, math.nan)])
def test_what_is_no_number_is_not_sound(bad):
    assert not report(bad, tolerance=10.0).sound


def test_steps_that_rounding_decided_are_counted():
    found = report((0.0, 0.0), (0.0002, 0.0))
    found.steps[1] = replace(found.steps[1], decided=True)
    assert found.sound and found.to_json()["steps_decided_by_rounding"] == 1
    assert "rounding decided 1 of the steps" in str(found)
