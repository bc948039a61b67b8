"""The client's side of a real deployment: addresses, keys, proxies and connections that close."""

import asyncio

import pytest
from sglang_soft_evals import address, cli, client, run, runfile
from sglang_soft_evals.client import Client, ServerGoneError
from sglang_soft_evals.config import Server

from tests.evals.fake_server import completion, probe, serving, solve
from tests.evals.runs import info, raw, samples, small
from tests.issue_table import case, row

SAME = "http://localhost:30000"
WRITTEN = {
    "localhost:30000": SAME,
    ":30000": SAME,
    " http://localhost:30000 ": SAME,
    "http://localhost:30000/": SAME,
    "http://localhost:30000//": SAME,
    "http://localhost:30000/v1": SAME,
    "http://localhost:30000/v1/": SAME,
    "HTTP://localhost:30000/v1/chat/completions": SAME,
    "http://localhost:30000/generate": SAME,
    "127.0.0.1:30000/v1": "http://127.0.0.1:30000",
    "[::1]:30000": "http://[::1]:30000",
    "gpu-7": "http://gpu-7",
    "https://gateway.example/llm/v1/": "https://gateway.example/llm",
}


def old(written: str) -> str:
    """What commit b468ece did."""
    if not written.startswith(("http://", "https://")):
        return "refused"
    ends = ("/v1", "/generate", "/completions")
    return "HTTP 404" if written.rstrip("/").endswith(ends) else "as now"


@pytest.mark.parametrize(
    ("written", "meant"),
    [case("C19", repr(w), old(w), m, w, m) for w, m in WRITTEN.items()],
)
def test_addresses_as_people_write_them(written, meant):
    assert address.root(written) == meant
    assert runfile.from_dict(raw(written)).server.base_url == meant


@pytest.mark.parametrize(
    "written",
    ["", " ", "http://", "ftp://h", "unix:///socket", "http://h:port", "http://h:99999", "a b",
     "http://h?key=1", 3],
)  # fmt: skip
def test_what_is_no_address_is_named(written):
    with pytest.raises(ValueError, match="server.base_url must be an address such as http://host"):
        runfile.from_dict(raw(written))


def test_the_flag_is_named_if_it_is_no_address(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text('benchmark = "arith"\nserver = {model = "bundled"}\nmethods = [{name = "x"}]')
    with pytest.raises(SystemExit, match="--base-url must be an address"):
        cli.main(["run", str(file), "--base-url", "a b"])


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/", "/v1/chat/completions"])
def test_a_judge_keeps_its_path(end):
    judge = {"model": "m", "base_url": f"localhost:9/api{end}"}
    kept = end.removesuffix("/").removesuffix("/chat/completions")
    read = runfile.from_dict(raw(SAME, judge=judge)).judge.base_url
    assert read == f"http://localhost:9/api{kept}"


@pytest.mark.parametrize("form", ["{}", "{}/", "{}/v1/", "{}/v1/chat/completions"])
def test_a_run_at_such_an_address(tmp_path, form):
    with serving() as server:
        written = form.format(server.base_url.removeprefix("http://"))
        methods = [{"name": "discrete"}]
        assert run.execute(small(written, methods=methods), tmp_path).statuses == {"ok": 20}


@pytest.mark.parametrize(
    "args",
    [case("C19", f"args = {args}", "the server's port is set twice", "refused by name", args)
     for args in (["--port", "1"], ["--port=1"], ["--host", "h"], ["--host=h"])],
)  # fmt: skip
def test_a_port_set_in_two_places_is_refused(args):
    with pytest.raises(ValueError, match="server.args must be without --host and --port"):
        Server(model="m", args=tuple(args))


@pytest.mark.parametrize("args", [("--api-key", "sesame"), ("--api-key=sesame",)])
def test_the_key_of_a_server_that_a_run_starts_is_used_and_not_written(args):
    server = Server(model="m", args=(*args, "--tp-size", "8", "--admin-api-key", "sesame"))
    assert server.api_key == "sesame"
    shown = server.shown()["args"]
    assert "sesame" not in str(shown) and shown[-4:-2] == ["--tp-size", "8"]
    assert Server(model="m", args=("--tp-size", "8")).api_key is None


def test_a_password_in_an_address_is_not_written(tmp_path):
    with serving() as server:
        url = server.base_url.replace("//", "//me:sesame@")
        run.execute(small(url, methods=[{"name": "discrete"}]), tmp_path)
        assert "//...@127" in info(tmp_path)["config"]["server"]["base_url"]
    assert b"sesame" not in (tmp_path / "run.json").read_bytes()


@row("C19", "the server closes a connection", "a failed sample", "asked again, at most 3 times")
@pytest.mark.parametrize(("closed", "statuses"), [(1, {"ok": 20}), (3, {"failed": 1, "ok": 19})])
def test_connections_that_the_server_closes(tmp_path, closed, statuses):
    def respond(request):
        if not probe(request) and not started:
            started.append(request)
            server.closed = closed
        return solve(request)

    started = []
    with serving(respond) as server:
        one = [{"name": "discrete"}]
        result = run.execute(small(server.base_url, methods=one, concurrency=1), tmp_path)
        assert started and not server.closed
    assert result.statuses == statuses
    failed = [r["error"] for r in samples(tmp_path) if r["status"] == "failed"]
    assert all("Disconnected" in error or "OSError" in error for error in failed)


@row("C19", "HTTP 503 of a server that is busy", "a failed sample", "asked again")
def test_a_busy_server_is_asked_again(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "BUSY_PAUSES", (0.01, 0.01))

    def respond(request):
        if not probe(request) and len(server.asked) % 3 == 0:
            return 503, {"error": {"message": "queue is full"}}
        return solve(request)

    with serving(respond) as server:
        assert run.execute(small(server.base_url, concurrency=1), tmp_path).statuses == {"ok": 60}
        assert len(server.asked) > 80


def test_a_gateway_whose_server_is_gone_stops_the_run(monkeypatch):
    async def ask(url):
        asker = Client(url, timeout_s=10)
        monkeypatch.setattr(asker, "healthy", lambda: asyncio.sleep(0, False))
        try:
            return await asker.chat({"messages": [{"content": "What is 1+1?"}]})
        finally:
            await asker.close()

    gone = pytest.raises(ServerGoneError, match="is not healthy .HTTP 502: bad gateway")
    with serving(lambda request: (502, {"message": "bad gateway"})) as server, gone:
        asyncio.run(ask(server.base_url))


def test_the_words_of_an_error_in_openai_form(tmp_path):
    def respond(request):
        return 400, {"error": {"message": "no such model", "type": "invalid_request"}}

    with serving(respond) as server, pytest.raises(ValueError, match="HTTP 400: no such model"):
        run.execute(small(server.base_url), tmp_path)


def test_a_proxy_is_not_used_for_this_machine_by_any_of_its_names(monkeypatch):
    monkeypatch.setattr(address.socket, "gethostname", lambda: "Box")
    assert address.is_loopback("http://box:30000") and address.is_loopback("http://localhost.:1")
    assert address.is_loopback("http://[::ffff:127.0.0.1]:1")
    assert not address.is_loopback("http://boxes:30000")


@row("C15", "a gateway that drops custom_params", "CoT is compared with CoT", "refused by name")
def test_something_between_that_drops_keys_is_named(tmp_path):
    refused = pytest.raises(ValueError, match="drops custom_params or return_meta_info")
    with serving(lambda request: completion("Answer: 1")) as server, refused:
        run.execute(small(server.base_url), tmp_path)
