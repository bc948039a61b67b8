import pytest

from sglang_soft import methods
from sglang_soft import resolve as resolving
from sglang_soft.params import Sampling, ThinkingParams, parameters
from tests.unit.soft_request import request_params

OWN = Sampling(temperature=0.6, top_p=0.9, top_k=20, min_p=0.1)
GREEDY = Sampling(temperature=1.0, top_p=1.0, top_k=1, min_p=0.0)  # as SGLang stores temperature 0


def resolve(raw, *, request=OWN, default=None, max_k=32):
    return resolving.resolve(raw, request=request, default=default, max_k=max_k)


@pytest.mark.parametrize("raw", [None, False])
def test_a_request_that_does_not_opt_in_is_discrete(raw):
    assert resolve(raw) is None


def test_false_opts_out_of_a_server_default_and_nothing_takes_it():
    assert resolve(False, default={}) is None
    assert resolve(None, default={"max_topk": 5}).params.max_topk == 5


def test_true_and_an_empty_object_are_the_defaults():
    assert resolve(True) == resolve({})
    params, _, thinking, answer = resolve({})
    assert params.max_topk == 10 and params.cold_stop_entropy == 0
    assert thinking == answer == OWN


def test_a_request_overrides_the_server_default_key_by_key():
    params, *_ = resolve({"max_topk": 3}, default={"max_topk": 5, "return_concepts": True})
    assert params.max_topk == 3 and params.return_concepts


def test_phases_have_their_own_sampling():
    *_, thinking, answer = resolve(
        {"temperature": 0.9, "answer_temperature": 0, "answer_top_p": 0.5}
    )
    assert thinking == OWN._replace(temperature=0.9)
    assert answer == Sampling(temperature=1.0, top_p=0.5, top_k=1, min_p=0.1)


def test_a_temperature_of_its_own_undoes_a_greedy_request_in_that_phase_only():
    """And what the request says besides stays: SGLang forgets the top_k of a greedy request."""
    request = Sampling(temperature=0.0, top_p=0.9, top_k=30, min_p=0.1)
    *_, thinking, answer = resolve({"temperature": 0.7}, request=request)
    assert thinking == request._replace(temperature=0.7)
    assert answer == request._replace(temperature=1.0, top_k=1)


def test_names_of_the_authors_fork():
    fork = {"after_thinking_temperature": 0.3, "early_stopping_entropy_threshold": 0.05,
            "early_stopping_length_threshold": 64}  # fmt: skip
    ours = {"answer_temperature": 0.3, "cold_stop_entropy": 0.05, "cold_stop_steps": 64}
    assert resolve(fork) == resolve(ours)


def test_null_is_the_default():
    assert resolve({"max_topk": None, "top_p": None}) == resolve({})


def test_default_k_respects_a_smaller_server_bound():
    assert resolve({}, max_k=4).params.max_topk == 4


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
        ({"thinking_stop": "thought"}, ["thinking_stop", "'thought'", "answer, everywhere"]),
        ({"thinking_eos": True}, ["thinking_eos", "True", "think_end, stop"]),
        ({"weight_bits": 17}, ["weight_bits", "17", "[1, 16]"]),
        ({"weight_bits": 2.5}, ["weight_bits", "2.5", "int"]),
        ({"closing_text": 5}, ["closing_text", "5", "64 tokens"]),
        ({"max_answer_tokens": -1}, ["max_answer_tokens", "-1", ">= 0"]),
        ({"method": "swireasoning", "swi_window": 1.5}, ["swi_window", "1.5", "int"]),
    ],
)
def test_errors_name_key_value_and_range(raw, words):
    with pytest.raises(ValueError) as error:
        resolve(raw)
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize("name", methods.names())
def test_what_is_encoded_comes_back_equal(name):
    request = request_params(name, seed=-(2**63), max_thinking_tokens=3)
    assert isinstance(request.encode(), str)
    assert resolving.decode(request.encode(), 32, 100) == request and request.method == name


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda text: text.replace('"soft"', '"magic"'), "front end"),
        (lambda text: True, "front end"),
        (lambda text: {"method": "soft"}, "front end"),
        (lambda text: text.replace('"max_topk":10', '"max_topk":33'), "max_topk"),
        (lambda text: text.replace('"think_end":[8]', '"think_end":[100]'), "think tokens"),
        (lambda text: text.replace('"think_end":[8]', '"think_end":[]'), "think tokens"),
        (lambda text: text.replace('"closing":[]', f'"closing":{[1] * 65}'), "closing"),
        (lambda text: text.replace('[0.6,', '[0.0,'), "temperature"),
        (lambda text: text.replace('"seed":0', '"seed":1e30'), "front end"),
    ],
)  # fmt: skip
def test_what_no_front_end_of_ours_encoded_is_refused(change, named):
    text = request_params().encode()
    assert change(text) != text, "nothing was changed"
    with pytest.raises(ValueError, match=named):
        resolving.decode(change(text), 32, 100)


def test_tables_have_every_parameter_once():
    keys = [row["key"] for row in resolving.table()]
    keys += [row["key"] for method in resolving.methods_table() for row in method["parameters"]]
    assert len(set(keys)) == len(keys)
    assert {"method", "max_topk", "gumbel_temperature"} <= set(keys)
    assert [row["key"] for row in resolving.table()] == [
        "method", "preset", *(p.name for p in parameters(ThinkingParams)), *resolving.TRACE_KEYS
    ]  # fmt: skip


def test_json_schema_is_a_union_over_the_method():
    schema = resolving.json_schema()
    assert len(schema["anyOf"]) == len(methods.names())
    found = next(
        struct
        for struct in schema["$defs"].values()
        if struct["properties"].get("method", {}).get("enum") == ["soft_gumbel"]
    )
    assert found["properties"]["gumbel_temperature"]["exclusiveMinimum"] == 0


def test_a_methods_own_parameters_and_defaults():
    params, method, thinking, _ = resolve({"method": "soft_gumbel", "gumbel_temperature": 0.3})
    assert method.args(params) == (0.3,) and thinking == OWN
    params, method, thinking, answer = resolve({"method": "multiplex"})
    assert params.max_topk == 3 and answer == OWN
    assert thinking == OWN._replace(temperature=1.0, top_p=0.95)
    assert resolve({"method": "multiplex", "top_p": 0.5}).thinking.top_p == 0.5
    fork = {"method": "soft_dirichlet", "dirichlet_alpha": 2}
    assert resolve(fork) == resolve({"method": "soft_dirichlet", "dirichlet_gamma": 2.0})


def test_choices_and_what_is_unset_are_numbers_on_the_device():
    params, method, *_ = resolve({"method": "multiplex", "multiplex_weighting": "prob"})
    assert method.args(params) == (1.0, 0.0)
    inf = float("inf")
    params, method, *_ = resolve({"method": "swireasoning", "swi_max_switches": None})
    assert method.args(params) == (512, 1, 0.7, inf, 0.9, inf, 0, 0, 0, 0, inf)


def test_parameters_of_the_defaults_method_do_not_reach_another_method():
    default = {"method": "soft_gumbel", "gumbel_temperature": 0.3, "max_topk": 4}
    default = resolving.check(default, 32)
    assert resolve(None, default=default).params.gumbel_temperature == 0.3
    assert resolve({"gumbel_temperature": 0.9}, default=default).params.gumbel_temperature == 0.9
    other = resolve({"method": "cot"}, default=default)
    assert other.method.name == "cot" and not hasattr(other.params, "gumbel_temperature")
    assert other.params.max_topk == 4


def test_a_method_that_needs_slots_of_its_own_leaves_fewer():
    assert resolve({"method": "swireasoning"}, max_k=4).params.max_topk == 3
    with pytest.raises(ValueError, match=r"max_topk is out of range .*\[1, 31\]"):
        resolve({"method": "swireasoning", "max_topk": 32})


def test_a_preset_has_the_published_values_and_what_is_given_next_to_it_wins():
    paper = {"temperature": 0.6, "top_p": 0.95, "top_k": 30, "min_p": 0.001}
    qwq = resolve({"preset": "qwq-32b"})
    assert qwq.method.name == "soft" and qwq.params.max_topk == 15
    assert (qwq.params.cold_stop_entropy, qwq.params.cold_stop_steps) == (0.01, 256)
    assert qwq.thinking._asdict() == paper
    own = resolve({"preset": "qwq-32b", "early_stopping_length_threshold": 9, "method": "moi"})
    assert (own.method.name, own.params.cold_stop_steps, own.params.max_topk) == ("moi", 9, 15)
    assert resolve({"preset": None}) == resolve({})
    assert resolve({}, default=resolving.check({"preset": "qwq-32b"}, 32)) == qwq


@pytest.mark.parametrize("name", ["qwq", "", 1, ["qwq-32b"]])
def test_an_unknown_preset_is_refused_with_the_names_there_are(name):
    with pytest.raises(ValueError, match=r"preset must be one of qwq-32b, .*; got"):
        resolve({"preset": name})


def test_a_preset_that_needs_a_larger_server_is_refused():
    with pytest.raises(ValueError, match=r"preset=qwq-32b asks for max_topk 15.*--soft-max-k"):
        resolve({"preset": "qwq-32b"}, max_k=8)
    assert resolve({"preset": "qwq-32b", "max_topk": 8}, max_k=8).params.max_topk == 8
