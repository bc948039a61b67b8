"""Presets: published parameters by name, in a request and in --soft-default."""

import json
from typing import Any

import pytest

from sglang_soft import methods, presets
from sglang_soft import resolve as resolving
from sglang_soft.params import Sampling
from sglang_soft.server import cli, settings
from tests.issue_table import row

OWN = Sampling(temperature=0.7, top_p=0.9, top_k=50, min_p=0.1)
QWQ = Sampling(temperature=0.6, top_p=0.95, top_k=30, min_p=0.001)


def resolve(raw: Any, default: dict | None = None) -> resolving.Resolved:
    found = resolving.resolve(raw, request=OWN, default=default, max_k=32)
    assert found is not None
    return found


@pytest.mark.parametrize("preset", presets.PRESETS, ids=lambda p: p.name)
@row("D25", "preset: qwq-32b, ...", "no such key", "published values, each with its source")
def test_every_preset_is_valid_and_every_value_has_one_source(preset):
    params = preset.params
    assert resolving.check(params, 32) == params == resolving.check({"preset": preset.name}, 32)
    keys = [key for part in preset.sourced.values() for key in part]
    assert len(keys) == len(set(keys)) and all(preset.sourced)
    assert resolve({"preset": preset.name}).method is methods.get(preset.method)


def test_names_are_unique():
    assert len({preset.name for preset in presets.PRESETS}) == len(presets.PRESETS)


def test_a_preset_sets_both_phases():
    params, method, thinking, answer = resolve({"preset": "qwq-32b"})
    assert (method.name, params.max_topk) == ("soft", 15) and thinking == QWQ
    assert answer == QWQ._replace(min_p=0.0)


def test_values_next_to_it_win_under_any_of_their_names():
    found = resolve({"preset": "qwq-32b-gumbel", "gumbel_softmax_temperature": 0.9, "top_k": 5})
    assert found.params.gumbel_temperature == 0.9 and found.thinking.top_k == 5
    assert found.params.max_topk == 5 and found.thinking.temperature == 0.6
    assert resolve({"preset": "qwq-32b", "top_p": None}) == resolve({"preset": "qwq-32b"})


def test_another_method_keeps_what_every_method_has():
    found = resolve({"preset": "qwq-32b-gumbel", "method": "moi"})
    assert found.method.name == "moi" and found.params.max_topk == 5
    assert not hasattr(found.params, "gumbel_temperature")
    with pytest.raises(ValueError, match="gumbel_temperature is a parameter of method soft_gumbel"):
        resolve({"preset": "qwq-32b", "gumbel_temperature": 0.5})


def test_in_the_servers_default():
    given = {"SGLANG_SOFT_DEFAULT": json.dumps({"preset": "qwq-32b", "max_topk": 7})}
    default = settings.from_env(given).default
    assert default == presets.params_of("qwq-32b") | {"max_topk": 7}
    assert resolve(None, default).thinking == QWQ
    other = resolve({"preset": "qwen3-8b-swireasoning-gsm8k"}, default)
    assert other.method.name == "swireasoning" and other.params.swi_alpha == 0.5
    assert other.thinking == QWQ._replace(top_k=20, min_p=0.0) and other.params.max_topk == 7
    with pytest.raises(ValueError, match="--soft-default .*preset must be one of"):
        settings.from_env({"SGLANG_SOFT_DEFAULT": '{"preset": "best"}'})


def test_they_are_shown(capsys):
    cli.main(["presets"])
    shown = capsys.readouterr().out
    for preset in presets.PRESETS:
        assert preset.name in shown and all(source in shown for source in preset.sourced)
