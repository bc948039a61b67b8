"""What a decode step launches on a GPU, counted without one (launch/bench/launches.py)."""

from pathlib import Path

import pytest
import torch

from launch.bench.launches import TOP_KS, Launches, recording, request, step, table
from sglang_soft import methods, stopping
from sglang_soft.methods.cot import CoT
from tests.issue_table import row
from tests.unit.soft_request import soft_request

MOST = 12
"""Launches of one decode step of any method."""


@pytest.fixture
def launches():
    with recording() as found:
        yield found


KERNELS = ["gather_rows", "scan", "finish", "finish_step", "overwrite_tokens", "update_pool"]


def test_a_soft_step_is_six_kernels(launches):
    assert step([soft_request() for _ in range(8)], launches) == KERNELS


def test_discrete_requests_next_to_soft_ones_add_nothing_to_a_step(launches):
    assert step([soft_request(), None] * 4, launches) == KERNELS


@pytest.mark.parametrize("top_k", TOP_KS)
@pytest.mark.parametrize("name", methods.names())
@pytest.mark.parametrize("rows", [1, 8])
@row(
    "A4",
    "launches of a step, every method",
    "949 (soft_dirichlet), 65 to 137 (other drawing methods)",
    "at most 12, no sort of the vocabulary",
)
def test_a_method_launches_at_most_twelve_and_reads_the_vocabulary_in_kernels_only(
    launches, name, top_k, rows
):
    """So nothing sorts it: no torch operator sees a tensor that is as wide."""
    names = step([request(name, top_k)] * rows, launches)
    assert set(KERNELS) <= set(names) and len(names) <= MOST, names
    assert not launches.wide


def test_a_mixed_batch_costs_the_methods_own_launches_and_a_record_each(launches):
    """No choosing between the methods' proposals: each writes its own rows."""
    both = step([request("moi", -1), request("multiplex", -1)] * 4, launches)
    own = ["normalised_entropy", "aten::add.Tensor", "aten::div.Tensor", "compose"]
    own += ["finish_step", "merge_draws", "aten::eq.Scalar", "aten::where.self", "finish_step"]
    assert both == [*KERNELS[:3], "draw", *own, *KERNELS[4:]]


@pytest.mark.parametrize("name", methods.names())
def test_a_roll_out_reads_the_vocabulary_no_more_often(launches, name):
    """It computes with candidates and draws. Without it a step has its launches and no others."""
    names = step([soft_request(name), soft_request(name, return_rollout=True)], launches)
    assert set(KERNELS) <= set(names) and not launches.wide


def test_a_sort_of_the_vocabulary_would_be_seen(launches, monkeypatch):
    def sorting(self, context):
        context.logits.sort(1)
        return context.discrete()

    monkeypatch.setattr(CoT, "step", sorting)
    assert "aten::sort" in step([request("cot", -1)] * 2, launches)
    assert launches.wide == ["aten::sort"]


def test_the_page_has_the_counts():
    page = (Path(__file__).parents[2] / "docs/benchmarks.md").read_text()
    assert page.split("<!-- launches -->\n")[1].split("\n<!-- end of launches -->")[0] == table()


RULES = [rule for rule in stopping.registry().values() if not rule.fused]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_stopping_rule_reads_the_vocabulary_once(launches, rule):
    """In one kernel; a rule that changes logits copies them. Sums are over what a rule remembers."""
    names = step([soft_request(stop=rule.Params()), soft_request("cot"), None], launches)
    assert names.count("logit_facts") == 1 and set(KERNELS) <= set(names)
    copies = ["aten::clone", "aten::index_put_"] if rule.adjusts else []
    assert launches.wide == copies, "and no other operator sees a row of logits"
    assert len(names) <= 90, names


def test_rules_of_a_batch_share_what_they_read(launches):
    batch = [soft_request(stop=rule.Params()) for rule in RULES]
    assert step(batch, launches).count("logit_facts") == 1


@pytest.mark.parametrize("stop", [stopping.get("cold_stop").Params(entropy=0.1),
                                  stopping.get("budget").Params(tokens=9)])  # fmt: skip
def test_cold_stop_and_a_budget_launch_nothing(launches, stop):
    assert step([soft_request(stop=stop), soft_request()] * 2, launches) == KERNELS


def test_views_and_allocations_are_not_counted():
    found = Launches()
    with found:
        torch.empty(3, 4)[1:].t().unsqueeze(0)
        torch.ones(2)
    assert found.names == ["aten::ones"]
