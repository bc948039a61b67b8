"""Presets: published parameters by name, in a request and in --soft-default."""

import json
from typing import Any

import pytest

from sglang_soft import methods, presets
from sglang_soft import resolve as resolving
from sglang_soft.params import Sampling
from sglang_soft.server import cli, settings

OWN = Sampling(temperature=0.7, top_p=0.9, top_k=50, min_p=0.1)
QWQ = Sampling(temperature=0.6, top_p=0.95, top_k=30, min_p=0.001)


def resolve(raw: Any, default: dict | None = None, max_k: int = 32) -> resolving.Resolved:
    found = resolving.resolve(raw, request=OWN, default=default, max_k=max_k)
    assert found is not None
    return found


@pytest.mark.parametrize("preset", presets.PRESETS, ids=lambda p: p.name)
def test_every_preset_is_valid_and_every_value_has_one_source(preset):
    checked = resolving.check({"preset": preset.name}, 32)
    assert checked == preset.values and checked["method"] == preset.method
    keys = [key for part in preset.sourced.values() for key in part]
    assert len(keys) == len(set(keys)) and all(preset.sourced)
    assert resolve({"preset": preset.name}).method is methods.get(preset.method)


def test_a_preset_sets_both_phases():
    params, method, thinking, answer = resolve({"preset": "qwq-32b"})
    assert (method.name, params.max_topk) == ("soft", 10) and thinking == QWQ
    assert answer == QWQ._replace(min_p=0.0)
    assert (params.cold_stop_entropy, params.cold_stop_steps) == (0.01, 256)


def test_values_next_to_it_win_under_any_of_their_names():
    found = resolve({"preset": "qwq-32b-gumbel", "gumbel_softmax_temperature": 0.9, "top_k": 5})
    assert found.params.gumbel_temperature == 0.9 and found.thinking.top_k == 5
    assert found.params.max_topk == 5 and found.thinking.temperature == 0.6
    assert resolve({"preset": "qwq-32b", "top_p": None}) == resolve({"preset": "qwq-32b"})
    assert resolve({"preset": None, "max_topk": 3}) == resolve({"max_topk": 3})


def test_another_method_keeps_what_every_method_has():
    found = resolve({"preset": "qwq-32b-gumbel", "method": "moi"})
    assert found.method.name == "moi" and found.params.max_topk == 5
    assert not hasattr(found.params, "gumbel_temperature")
    with pytest.raises(ValueError, match="gumbel_temperature is a parameter of method soft_gumbel"):
        resolve({"preset": "qwq-32b", "gumbel_temperature": 0.5})


@pytest.mark.parametrize("name", ["qwq", "QwQ-32B", 3, True, ["qwq-32b"]])
def test_an_unknown_name_is_refused_with_the_known_ones(name):
    with pytest.raises(ValueError) as error:
        resolve({"preset": name})
    assert repr(name) in str(error.value)
    assert all(known in str(error.value) for known in ("soft_thinking.preset", *presets.names()))


def test_a_preset_that_this_server_does_not_allow_is_refused_unless_its_value_is_replaced():
    with pytest.raises(ValueError, match=r"preset=qwq-32b .*max_topk .*\[1, 4\]"):
        resolve({"preset": "qwq-32b"}, max_k=4)
    assert resolve({"preset": "qwq-32b", "max_topk": 3}, max_k=4).params.max_topk == 3


def test_in_the_servers_default():
    given = {"SGLANG_SOFT_DEFAULT": json.dumps({"preset": "qwq-32b", "max_topk": 7})}
    default = settings.from_env(given).default
    assert default == presets.find("qwq-32b").values | {"max_topk": 7}
    assert resolve(None, default).thinking == QWQ
    other = resolve({"preset": "qwen3-8b-swireasoning-gsm8k"}, default)
    assert other.method.name == "swireasoning" and other.params.swi_alpha == 0.5
    assert other.thinking == QWQ._replace(top_k=20, min_p=0.0) and other.params.max_topk == 7
    with pytest.raises(ValueError, match="--soft-default .*preset must be one of"):
        settings.from_env({"SGLANG_SOFT_DEFAULT": '{"preset": "best"}'})


def test_they_are_shown(capsys):
    cli.main(["params"])
    shown = capsys.readouterr().out
    assert "| preset |" in shown
    for preset in presets.PRESETS:
        assert preset.name in shown and all(source in shown for source in preset.sourced)
