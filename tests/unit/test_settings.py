"""Flags, environment variables and the command line of the server: one table."""

import pytest

from sglang_soft.launch_server import BUNDLED_MODEL, build_parser, parse
from sglang_soft.server.settings import SETTINGS, Settings, from_env, table


def settings(argv: list[str], env: dict[str, str] | None = None) -> Settings:
    env = dict(env or {})
    parse(argv, env)
    return from_env(env)


def test_without_arguments_it_serves_the_bundled_model():
    rest = parse([], {})
    assert rest[:2] == ["--model-path", str(BUNDLED_MODEL)]
    assert settings([]) == Settings(required=True) and from_env({}) == Settings()


def test_sglang_flags_pass_unchanged():
    argv = ["--model-path", "m", "--tp", "8", "--mem-fraction-static", "0.8"]
    assert parse(argv, {}) == argv
    assert parse([*argv, "--soft-max-k", "8"], {}) == argv


def test_own_flags():
    argv = ["--soft-default", '{"max_topk": 15}', "--soft-max-k", "16", "--soft-think-end", "</t>"]
    soft = settings(argv)
    assert (soft.default, soft.max_k, soft.think_end) == ({"max_topk": 15}, 16, "</t>")
    argv = ["--soft-max-vector-mb", "7", "--soft-methods", "string", "--soft-think-start", "<t>"]
    soft = settings(argv)
    assert (soft.max_vector_mb, soft.methods, soft.think_start) == (7, "string", "<t>")


@pytest.mark.parametrize(
    ("argv", "view"),
    [
        ([], "off"),
        (["--soft-view"], "loopback"),
        (["--soft-view", "--soft-max-k", "8"], "loopback"),
        (["--soft-view", "everyone"], "everyone"),
        (["--soft-view=everyone"], "everyone"),
        (["--soft-view", "--soft-view", "off"], "off"),
    ],
)
def test_who_may_see_the_page(argv, view):
    assert settings(argv).view == view
    assert from_env({"SGLANG_SOFT_VIEW": view}).view == view


@pytest.mark.parametrize(
    ("argv", "default"),
    [
        ([], None),
        (["--soft-default", "false"], None),
        (["--soft-default", "true"], {}),
        (["--soft-method", "cot"], {"method": "cot"}),
        (["--soft-method", "cot", "--soft-default", "true"], {"method": "cot"}),
        (
            ["--soft-method", "cot", "--soft-default", '{"max_topk": 2}'],
            {"method": "cot", "max_topk": 2},
        ),
        (["--soft-default", '{"after_thinking_top_p": 0.5}'], {"answer_top_p": 0.5}),
    ],
)
def test_the_server_wide_default(argv, default):
    assert settings(argv).default == default


def test_a_flag_wins_over_its_variable_and_other_variables_stay():
    env = {"SGLANG_SOFT_MAX_K": "5", "SGLANG_SOFT_METHOD": "cot"}
    assert settings(["--soft-max-k", "9"], env).max_k == 9
    assert settings([], env) == Settings(max_k=5, default={"method": "cot"}, required=True)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--soft-max-k", "65"], ["--soft-max-k", "SGLANG_SOFT_MAX_K", "[1, 64]", "'65'"]),
        (["--soft-max-k", "0"], ["--soft-max-k", "[1, 64]", "'0'"]),
        (["--soft-max-k", ""], ["--soft-max-k", "[1, 64]", "''"]),
        (["--soft-max-k", "1.5"], ["--soft-max-k", "whole number"]),
        (["--soft-max-vector-mb", "-1"], ["--soft-max-vector-mb", ">= 0", "'-1'"]),
        (["--soft-default", "yes"], ["--soft-default", "JSON", "'yes'"]),
        (["--soft-default", ""], ["--soft-default", "SGLANG_SOFT_DEFAULT", "''"]),
        (["--soft-default", "[1]"], ["--soft-default", "JSON object", "'[1]'"]),
        (["--soft-default", '"soft"'], ["--soft-default", "JSON object"]),
        (["--soft-default", "3"], ["--soft-default", "JSON object", "'3'"]),
        (["--soft-default", "null"], ["--soft-default", "JSON object", "'null'"]),
        (["--soft-default", '{"max_topk": 64}'], ["--soft-default", "max_topk", "[1, 32]", "64"]),
        (
            ["--soft-max-k", "4", "--soft-default", '{"max_topk": 5}'],
            ["--soft-default", "max_topk", "[1, 4]", "5"],
        ),
        (["--soft-default", '{"nope": 1}'], ["--soft-default", "'nope'"]),
        (["--soft-method", "magic"], ["method", "'magic'", "soft_gumbel"]),
        (["--soft-method", ""], ["--soft-method", "empty"]),
        (["--soft-method", "soft", "--soft-default", "false"], ["--soft-method soft", "false"]),
        (
            ["--soft-method", "soft", "--soft-default", '{"method": "cot"}'],
            ["--soft-method soft", "'cot'", "different"],
        ),
        (["--soft-method", "soft", "--soft-default", "[1]"], ["--soft-default", "'[1]'"]),
        (["--soft-think-end", ""], ["--soft-think-end", "empty"]),
        (["--soft-view", "all"], ["--soft-view", "SGLANG_SOFT_VIEW", "loopback", "'all'"]),
        (["--soft-view", ""], ["--soft-view", "one of", "''"]),
        (["--soft-topk", "3"], ["--soft-topk", "--soft-max-k"]),
    ],
)
def test_bad_values_are_named(argv, words):
    with pytest.raises(ValueError) as error:
        parse(argv, {})
    assert all(word in str(error.value) for word in words), error.value


def test_a_bad_variable_is_named_as_its_flag_is():
    with pytest.raises(ValueError, match=r"--soft-default \(SGLANG_SOFT_DEFAULT\) .*got ''"):
        from_env({"SGLANG_SOFT_DEFAULT": ""})


def test_the_table_is_what_help_and_docs_show():
    text = build_parser().format_help()
    assert all(s.flag in text for s in SETTINGS)
    assert [row["environment"] for row in table()] == [f"`{s.variable}`" for s in SETTINGS]
    fields = set(Settings.__dataclass_fields__) - {"required", "check"}
    assert fields == {s.name for s in SETTINGS} - {"method"}
    assert all(getattr(Settings(), s.name) == s.default for s in SETTINGS if s.name != "method")
