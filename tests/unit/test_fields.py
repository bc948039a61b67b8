"""docs/fields.toml has every field of SGLang's requests and server arguments, and every route."""

from importlib.metadata import version

import pytest
import tomllib
from msgspec.structs import fields
from sglang.srt.entrypoints import http_server
from sglang.srt.entrypoints.openai import protocol
from sglang.srt.managers.io_struct import GenerateReqInput
from sglang.srt.sampling.sampling_params import SamplingParams
from sglang.srt.server_args import ServerArgs

from sglang_soft.plugin import SGLANG_WINDOW
from sglang_soft.server.limits import REQUEST_LIMITS, SERVER_LIMITS
from tests.docs.blocks import ROOT

ROWS = tomllib.loads((ROOT / "docs" / "fields.toml").read_text())["row"]
STATES = {"works": {"test"}, "refused": {"test", "why"}, "not affected": {"why"},
          "passed on": {"why"}}  # fmt: skip
"""State: what a row of it has to say."""
OURS = {
    "/soft_thinking",
    "/soft_thinking/logits",
    "/soft_thinking/texts",
    "/soft_thinking/view",
    "/openapi.json",
    "/docs",
    "/docs/oauth2-redirect",
    "/redoc",
}
"""Routes of the plugin and of FastAPI."""


def routes() -> set[str]:
    found, left = set(), list(http_server.app.routes)
    while left:
        route = left.pop()
        left += getattr(getattr(route, "original_router", None), "routes", [])
        if path := getattr(route, "path", None):
            found.add(path)
    return found - OURS


SGLANG = {
    "GenerateReqInput": lambda: set(GenerateReqInput.__dataclass_fields__),
    "SamplingParams": lambda: {f.name for f in fields(SamplingParams)},
    "ServerArgs": lambda: {f.name for f in fields(ServerArgs)},
    **{
        name: lambda name=name: set(getattr(protocol, name).model_fields)
        for name in ("ChatCompletionRequest", "CompletionRequest", "ResponsesRequest")
    },
    "HTTP routes": routes,
}


def states(of: str, state: str | None = None) -> list[str]:
    chosen = [row for row in ROWS if row["of"] == of and state in (None, row["state"])]
    return [name for row in chosen for name in row["fields"]]


@pytest.mark.skipif(
    version("sglang") != SGLANG_WINDOW[-1], reason=f"the table is of SGLang {SGLANG_WINDOW[-1]}"
)
@pytest.mark.parametrize("of", SGLANG)
def test_the_table_has_every_field_once(of):
    named, there = states(of), SGLANG[of]()
    assert len(there) >= 25, "nothing was found"
    assert not there - set(named), f"docs/fields.toml does not say what becomes of these ({of})"
    assert not set(named) - there, f"docs/fields.toml has what {of} does not"
    twice = {name for name in named if named.count(name) > 1}
    assert not twice


def test_every_row_says_what_its_state_needs():
    assert {row["of"] for row in ROWS} == set(SGLANG)
    for row in ROWS:
        assert STATES[row["state"]] <= row.keys() <= {"of", "state", "fields", "test", "why"}, row
        assert row["fields"], row


def test_every_test_that_is_named_exists():
    named = {row["test"] for row in ROWS if "test" in row}
    assert len(named) > 20
    for test in named:
        file, _, function = test.partition("::")
        assert f"\ndef {function}(" in (ROOT / file).read_text(), test


def test_what_is_passed_on_is_told_where_it_arrives():
    for row in ROWS:
        if row["state"] == "passed on":
            of, _, names = row["why"].partition(": ")
            wanted = names.split(", ") if names else row["fields"]
            assert set(wanted) <= set(states(of)), row


def test_what_is_refused_is_refused_and_nothing_else():
    """The limits of the code are rows of the table."""
    refused = {
        name
        for row in ROWS
        if row["of"] == "ServerArgs"
        and row.get("test", "").endswith("::test_a_server_mode_is_refused_by_name")
        for name in row["fields"]
    }
    assert {field for field, *_ in SERVER_LIMITS} == refused
    request = {field for field, _ in REQUEST_LIMITS}
    assert request - {"embed_overrides"} <= set(states("GenerateReqInput", "refused"))
