from xml.etree import ElementTree

import numpy as np
from sglang_soft_evals.report import pareto, plot
from sglang_soft_evals.report.pareto import Point
from sglang_soft_evals.statistics import Estimate


def _point(name: str, tokens: float, accuracy: float) -> Point:
    return Point(
        name,
        Estimate(tokens, 1, tokens - 50, tokens + 50),
        Estimate(accuracy, 1, accuracy - 2, accuracy + 2),
    )


def test_pareto_front_is_what_nothing_dominates():
    rng = np.random.default_rng(0)
    points = [
        _point(str(i), float(t), float(a)) for i, (t, a) in enumerate(rng.integers(0, 12, (60, 2)))
    ]

    def dominated(p):
        return any(
            q.tokens.value <= p.tokens.value
            and q.accuracy.value >= p.accuracy.value
            and q[1:] != p[1:]
            for q in points
        )

    assert {p.name for p in pareto.front(points)} == {p.name for p in points if not dominated(p)}


def test_plot_is_xml_the_same_each_time_and_in_the_colour_of_the_page():
    points = [
        _point("cot", 6000, 80),
        _point("soft & <co> $x$", 5000, 79),
        _point("slow", 30000, 10),
        *(_point(f"m{i}", 5500 + 100 * i, 76 + i / 2) for i in range(4)),
    ]
    near = pareto.crowd(points, "cot")
    svg = plot.plot(points, points, points, "cot", "plot1")
    assert svg == plot.plot(points, points, points, "cot", "plot1")
    texts = "".join(ElementTree.fromstring(svg.replace("xlink:", "")).itertext())
    assert all(p.name in texts for p in points)
    assert "currentColor" in svg and plot.INK not in svg
    assert "slow" not in [p.name for p in near] and "cot" in [p.name for p in near]
