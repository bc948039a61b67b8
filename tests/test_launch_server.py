import pytest

from sglang_soft.config import get_config, to_env
from sglang_soft.launch_server import BUNDLED_MODEL, parse


def test_without_arguments_it_serves_the_bundled_model():
    soft, rest = parse([])
    assert (
        rest[:2] == ["--model-path", str(BUNDLED_MODEL)]
        and soft.default is None
        and soft.max_k == 32
    )


def test_sglang_flags_pass_unchanged():
    argv = ["--model-path", "m", "--tp", "8", "--mem-fraction-static", "0.8"]
    assert parse(argv)[1] == argv


def test_own_flags():
    soft, rest = parse(
        ["--soft-default", '{"max_topk": 15}', "--soft-max-k", "16", "--soft-think-end", "</t>"]
    )
    assert (soft.default, soft.max_k, soft.think_end) == ({"max_topk": 15}, 16, "</t>")
    assert not any(arg.startswith("--soft") for arg in rest)
    assert parse(["--soft-method", "soft"])[0].default == {"method": "soft"}
    assert parse(["--soft-method", "soft", "--soft-default", '{"max_topk": 2}'])[0].default == {
        "method": "soft",
        "max_topk": 2,
    }


@pytest.mark.parametrize(
    "argv",
    [["--soft-max-k", "65"], ["--soft-max-k", "4", "--soft-default", '{"max_topk": 5}'], ["--soft-topk", "3"],
     ["--soft-default", "yes"], ["--soft-method", "magic"]],
)  # fmt: skip
def test_bad_values_are_named(argv):
    with pytest.raises(ValueError, match="soft|max_topk|method"):
        parse(argv)


def test_settings_survive_the_environment(monkeypatch):
    monkeypatch.setenv("SGLANG_SOFT_METHODS", "")  # put back behind the test
    argv = ["--soft-max-vector-mb", "7", "--soft-methods", "string", "--soft-think-start", "<t>"]
    soft, _ = parse(["--soft-default", '{"max_topk": 5}', "--soft-max-k", "8", *argv])
    assert soft.max_vector_mb == 7 and soft.methods == "string"
    for key, value in to_env(soft).items():
        monkeypatch.setenv(key, value)
    get_config.cache_clear()
    try:
        assert get_config() == soft
    finally:
        get_config.cache_clear()
