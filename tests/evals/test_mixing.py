"""A soft method that mixes nothing is discrete decoding, and the report says so."""

import pytest
from sglang_soft_evals import mixing, report, run
from sglang_soft_evals.report.measures import measure

from tests.evals.fake_server import reply, serving, soft, solve
from tests.evals.runs import SAMPLING, record, samples, small
from tests.issue_table import row

SOFT = {"thinking_method": "soft", "mean_concept_size": 1.0, "mixed_share": 0.0}


@row(
    "B11", "a method that mixed nothing (temperature 0)", "published as Soft Thinking", "a warning"
)
def test_the_report_warns_of_a_soft_method_that_mixed_nothing(tmp_path):
    def respond(request):
        mixed = 0.004 if soft(request) == {"max_topk": 10} else 0.25
        return reply(request, "Answer: 1", mixed=mixed)

    with serving(respond) as server:
        run.execute(small(server.base_url), tmp_path)
    for one in samples(tmp_path):
        expected = {"discrete": None, "soft": 0.004, "stop": 0.25}[one["method"]]
        assert one["mixed_share"] == expected
        assert one["mean_concept_size"] == (None if expected is None else 2.5)
    text = report.write(tmp_path)[0].read_text()
    assert "soft on arith mixed more than one token in 0.4% of its thinking steps" in text
    assert "stop on arith mixed" not in text and "discrete on arith" not in text
    (header,) = [line for line in text.splitlines() if "steps that mix, %" in line]
    cells = [c.strip() for c in header.split("|")]
    rows = {
        line.split("|")[1].strip(): [c.strip() for c in line.split("|")]
        for line in text.split(header)[1].splitlines()[2:5]
    }
    for name, expected in (("soft", ["2.50", "0.4"]), ("stop", ["2.50", "25.0"])):
        assert [rows[name][cells.index(c)] for c in ("mixed tokens", "steps that mix, %")] == (
            expected
        )
    assert rows["discrete"][cells.index("steps that mix, %")] == "-"


@row("B11", "a soft method that never thought", "published as Soft Thinking", "a warning")
def test_the_report_warns_of_a_soft_method_that_never_thought(tmp_path):
    with serving(lambda r: reply(r, "Answer: 1", thinking=0, mixed=None)) as server:
        run.execute(small(server.base_url), tmp_path)
    text = report.write(tmp_path)[0].read_text()
    assert "soft on arith never thought: its figures are those of discrete decoding" in text


@pytest.mark.parametrize(
    ("method", "share", "warns"),
    [("soft", 0.0, True), ("soft", 0.0099, True), ("soft", 0.01, False), ("moi", 0.0, True),
     ("mine", 0.0, True), ("cot", 0.0, False), ("coconut_tf", 0.0, False),
     ("latent_mas", 0.0, False), ("later", 0.0, False), (None, None, False)],
)  # fmt: skip
def test_which_methods_are_there_to_mix(method, share, warns):
    made = record(thinking_method=method, mixed_share=share, mean_concept_size=share and 1.0)
    assert (mixing.warning([made]) is not None) == warns


def test_shares_count_every_thinking_step_the_same():
    short = record(**SOFT, thinking_tokens=10)
    long = record(**SOFT | {"mean_concept_size": 3.0, "mixed_share": 1.0}, thinking_tokens=90)
    failed = record(**SOFT, status="failed", correct=None, thinking_tokens=0)
    assert mixing.share([short, long]) == pytest.approx(0.9)
    measured = measure({"q": [short, long, failed]})
    assert (measured.mixed_share, measured.concept_size) == pytest.approx((0.9, 2.8))


def test_records_of_an_older_plugin_give_no_warning():
    assert mixing.warning([record(thinking_method="soft")]) is None
    assert mixing.warning([record(**SOFT, status="failed", correct=None)]) is None


@row("B11", "[sampling] temperature = 0", "nothing is said", "a note before the run")
def test_temperature_0_is_named_before_the_run(tmp_path, capsys):
    methods = [
        {"name": "discrete"},
        {"name": "soft", "soft_thinking": {"max_topk": 10}},
        {"name": "warm", "soft_thinking": {"temperature": 0.6}},
        {"name": "cot", "soft_thinking": {"method": "cot"}},
    ]
    with serving(solve) as server:
        greedy = SAMPLING | {"temperature": 0}
        run.execute(small(server.base_url, methods=methods, sampling=greedy), tmp_path)
    out = capsys.readouterr().out
    assert "note: methods.soft: at temperature 0 every thinking step mixes one token" in out
    assert out.count("at temperature 0") == 1


def test_the_methods_that_never_mix_are_those_of_the_plugin():
    from sglang_soft import methods

    assert set(mixing.NEVER_MIX) <= set(methods.registry())
