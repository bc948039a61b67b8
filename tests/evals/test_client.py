"""Keys and proxies; what a server that fails looks like is in `test_run.py`."""

import asyncio
import shlex

import pytest
from sglang_soft_evals import cli, provenance, run
from sglang_soft_evals.address import is_loopback
from sglang_soft_evals.client import Client

from tests.evals.fake_server import serving
from tests.evals.runs import info, small

DEAD = "http://127.0.0.1:1"
"""A proxy that nobody serves."""


@pytest.fixture
def proxied(monkeypatch):
    """Set the proxy of the environment."""

    def to(address: str) -> None:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, address)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)

    return to


def test_requests_to_this_machine_never_go_through_a_proxy(tmp_path, proxied):
    proxied(DEAD)
    with serving() as server:
        judge = {"base_url": f"{server.base_url}/v1", "model": "judge"}
        local = server.base_url.replace("127.0.0.1", "localhost")
        assert run.execute(small(local, judge=judge), tmp_path).statuses == {"ok": 60}
        assert server.hosts == {local.removeprefix("http://")}


def test_requests_to_other_machines_go_through_the_proxy(proxied):
    with serving() as proxy:
        proxied(proxy.base_url)

        async def ask():
            client = Client("http://server.invalid:8000", timeout_s=10)
            try:
                return await client.get("/v1/models")
            finally:
                await client.close()

        assert asyncio.run(ask())["data"] == [{"id": "fake"}]
        assert {host.split(":")[0] for host in proxy.hosts} == {"server.invalid"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:30000", True),
        ("http://127.1.2.3", True),
        ("http://0.0.0.0:30000", True),
        ("http://[::1]:30000/v1", True),
        ("http://LOCALHOST:30000", True),
        ("http://10.0.0.1:30000", False),
        ("http://localhost.example.com", False),
        ("https://127.0.0.1.example.com/v1", False),
    ],
)
def test_loopback_addresses(url, expected):
    assert is_loopback(url) is expected


def test_a_server_that_needs_a_key_gets_it_from_flag_or_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    file = tmp_path / "run.toml"
    file.write_text('benchmark = "arith"\nquestions = 2\n[[methods]]\nname = "discrete"\n')
    with serving() as server:
        server.api_key = "secret-1"
        common = ["run", str(file), "--no-report", "--base-url", server.base_url, "--out"]

        def status(*more: str) -> object:
            with pytest.raises(SystemExit) as end:
                cli.main([*common, *more])
            return end.value.code

        message = status(str(tmp_path / "none"))
        assert "methods.discrete: HTTP 401: Unauthorized (give the key with --api-key" in message
        assert status(str(tmp_path / "flag"), "--api-key", "secret-1") == 0
        monkeypatch.setenv("OPENAI_API_KEY", "secret-1")
        assert status(str(tmp_path / "environment")) == 0
        assert "HTTP 401" in status(str(tmp_path / "wrong"), "--api-key", "other")
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or b"secret-1" not in path.read_bytes(), path


@pytest.mark.parametrize("key", ["--api-key secret", "--api-key=secret"])
def test_the_key_is_not_part_of_the_provenance(key):
    shown = provenance.command_line(shlex.split(f"sglang-soft eval run my.toml {key} --seed 1"))
    assert "secret" not in shown and shown.startswith("sglang-soft eval run my.toml --api-key")
    assert shown.endswith("--seed 1")


def test_the_key_stays_out_of_run_json(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["sglang-soft", "eval", "run", "a.toml", "--api-key", "secret"])
    with serving() as server:
        run.execute(small(server.base_url), tmp_path, api_key="secret")
    assert info(tmp_path)["provenance"]["command"] == "sglang-soft eval run a.toml --api-key ..."
    assert b"secret" not in (tmp_path / "run.json").read_bytes()
