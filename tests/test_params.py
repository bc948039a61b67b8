import pytest

from sglang_soft import config, params
from sglang_soft.params import Sampling
from sglang_soft.wire import SoftParams
from tests.soft_params import soft_params

OWN = Sampling(temperature=0.6, top_p=0.9, top_k=20, min_p=0.1)
GREEDY = Sampling(temperature=1.0, top_p=1.0, top_k=1, min_p=0.0)  # as SGLang stores temperature 0


def resolve(raw, *, request=OWN, default=None, max_k=32):
    return params.resolve(raw, request=request, default=default, max_k=max_k)


@pytest.mark.parametrize("raw", [None, False])
def test_a_request_that_does_not_opt_in_is_hard(raw):
    assert resolve(raw) is None


def test_false_opts_out_of_a_server_default_and_nothing_takes_it():
    assert resolve(False, default={}) is None
    assert resolve(None, default={"max_topk": 5}).values["max_topk"] == 5


def test_true_and_an_empty_object_are_the_defaults():
    assert resolve(True) == resolve({})
    _, values, thinking, answer = resolve({})
    assert values["max_topk"] == 10 and values["cold_stop_entropy"] == 0
    assert thinking == answer == OWN


def test_a_request_overrides_the_server_default_key_by_key():
    _, values, *_ = resolve({"max_topk": 3}, default={"max_topk": 5, "return_concepts": True})
    assert values["max_topk"] == 3 and values["return_concepts"]


def test_phases_have_their_own_sampling():
    *_, thinking, answer = resolve(
        {"temperature": 0.9, "answer_temperature": 0, "answer_top_p": 0.5}
    )
    assert thinking == OWN._replace(temperature=0.9)
    assert answer == Sampling(temperature=1.0, top_p=0.5, top_k=1, min_p=0.1)


def test_a_temperature_of_its_own_undoes_a_greedy_request_in_that_phase_only():
    *_, thinking, answer = resolve({"temperature": 0.7}, request=GREEDY)
    assert thinking == Sampling(temperature=0.7, top_p=1.0, top_k=-1, min_p=0.0)
    assert answer == GREEDY


def test_names_of_the_authors_fork():
    fork = {"after_thinking_temperature": 0.3, "early_stopping_entropy_threshold": 0.05,
            "early_stopping_length_threshold": 64}  # fmt: skip
    ours = {"answer_temperature": 0.3, "cold_stop_entropy": 0.05, "cold_stop_steps": 64}
    assert resolve(fork) == resolve(ours)


def test_null_is_the_default():
    assert resolve({"max_topk": None, "top_p": None}) == resolve({})


def test_default_k_respects_a_smaller_server_bound():
    assert resolve({}, max_k=4).values["max_topk"] == 4


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"topk": 3}, ["'topk'", "max_topk"]),
        ({"max_topk": 33}, ["max_topk", "33", "[1, 32]"]),
        ({"max_topk": True}, ["max_topk", "True", "int"]),
        ({"top_p": float("nan")}, ["top_p", "nan"]),
        ({"temperature": float("inf")}, ["temperature", "inf"]),
        ({"top_p": 0.5, "cold_stop_steps": 0}, ["cold_stop_steps", "0", ">= 1"]),
        ("soft", ["soft_thinking", "'soft'"]),
        ({"gumbel_temperature": 0.5}, ["gumbel_temperature", "soft_gumbel", "'soft'"]),
        (
            {"method": "soft_gumbel", "gumbel_temperature": 0},
            ["gumbel_temperature", "0", "(0, 100]"],
        ),
        (
            {"method": "multiplex", "multiplex_weighting": "max"},
            ["multiplex_weighting", "'max'", "mean, prob"],
        ),
        ({"method": "swireasoning", "swi_window": 1.5}, ["swi_window", "1.5", "int"]),
    ],
)
def test_errors_name_key_value_and_range(raw, words):
    with pytest.raises(ValueError) as error:
        resolve(raw)
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize("key", ["soft_thinkng", "softThinking", "soft-thinking"])
def test_a_key_that_is_all_but_ours_is_refused(key):
    params.refuse_misspelt(["thinking_budget", "enable_thinking", "soft_cap", 7])
    with pytest.raises(ValueError, match=f"unknown key '{key}'.*'soft_thinking'"):
        params.refuse_misspelt(["thinking_budget", key])


def test_wire_form_is_flat_and_comes_back_equal():
    soft = soft_params(args=(0.5, float("inf")), thinking=OWN)
    wire = soft.to_wire()
    assert all(value is None or isinstance(value, (str, int, float)) for value in wire.values())
    assert SoftParams.from_wire(wire) == soft


def test_table_has_every_field_once():
    keys = [row["key"] for row in params.table()]
    keys += [row["key"] for method in params.methods_table() for row in method["parameters"]]
    assert len(set(keys)) == len(keys)
    assert {"method", "max_topk", "gumbel_temperature"} <= set(keys)


def test_a_methods_own_parameters_and_defaults():
    method, values, thinking, _ = resolve({"method": "soft_gumbel", "gumbel_temperature": 0.3})
    assert method.args(values) == (0.3,) and thinking == OWN
    method, values, thinking, answer = resolve({"method": "multiplex"})
    assert (
        values["max_topk"] == 3
        and thinking == OWN._replace(temperature=1.0, top_p=0.95)
        and answer == OWN
    )
    assert resolve({"method": "multiplex", "top_p": 0.5}).thinking.top_p == 0.5
    fork = {"method": "soft_dirichlet", "dirichlet_alpha": 2}
    assert resolve(fork) == resolve({"method": "soft_dirichlet", "dirichlet_gamma": 2.0})


def test_parameters_of_the_defaults_method_do_not_reach_another_method():
    default = config.parse_default(
        '{"method": "soft_gumbel", "gumbel_temperature": 0.3, "max_topk": 4}', 32
    )
    assert resolve(None, default=default).values["gumbel_temperature"] == 0.3
    assert resolve({"gumbel_temperature": 0.9}, default=default).values["gumbel_temperature"] == 0.9
    other = resolve({"method": "cot"}, default=default)
    assert other.method.name == "cot" and "gumbel_temperature" not in other.values
    assert other.values["max_topk"] == 4


def test_a_method_that_needs_slots_of_its_own_leaves_fewer():
    assert resolve({"method": "swireasoning"}, max_k=4).values["max_topk"] == 3
    with pytest.raises(ValueError, match=r"max_topk must be in \[1, 31\]"):
        resolve({"method": "swireasoning", "max_topk": 32})


@pytest.mark.parametrize("text", ["0", "65", "ten", "-1", "1.5", ""])
def test_max_k_bounds(text):
    with pytest.raises(ValueError, match="soft-max-k"):
        config.parse_max_k(text)


@pytest.mark.parametrize(
    ("text", "value"), [("true", {}), ("false", None), ('{"max_topk": 4}', {"max_topk": 4})]
)
def test_server_default(text, value):
    assert config.parse_default(text, 32) == value


@pytest.mark.parametrize("text", ["{", "3", '"soft"', '{"max_topk": 64}', '{"nope": 1}'])
def test_bad_server_default(text):
    with pytest.raises(ValueError):
        config.parse_default(text, 32)
