"""The page's routes on a real server, without and with --soft-view and an API key."""

import pytest
import requests

from sglang_soft.view import access

KEY = {"Authorization": "Bearer sesame"}


def view(url: str, **headers: str) -> requests.Response:
    return requests.get(f"{url}/soft_thinking/view", headers=headers, timeout=60)


def texts(url: str, body, **options) -> requests.Response:
    return requests.post(f"{url}/soft_thinking/texts", json=body, timeout=60, **options)


def test_the_page_is_off_unless_asked_for(server):
    answer = view(server)
    assert answer.status_code == 404 and "--soft-view" in answer.text
    assert answer.headers["content-type"].startswith("text/plain")


def test_the_text_of_tokens(server):
    info = requests.get(f"{server}/soft_thinking", timeout=60).json()["server"]
    ids = [info["think_start_id"], info["think_end_id"], 18]
    found = texts(server, {"ids": ids}).json()["texts"]
    assert found[:2] == ["<think>", "</think>"]
    whole = requests.post(f"{server}/detokenize", json={"tokens": [18]}, timeout=60).json()
    assert found[2] == whole["text"]


@pytest.mark.parametrize("body", [{"ids": [10**9]}, {"ids": "1"}, {}, [], 1])
def test_bad_ids_are_refused_and_the_server_goes_on(server, body):
    refused = texts(server, body)
    assert refused.status_code == 400 and "ids" in refused.json()["error"]["message"]
    refused = requests.post(f"{server}/soft_thinking/texts", data=b"{", timeout=60)
    assert refused.status_code == 400 and "JSON" in refused.text
    assert texts(server, {"ids": [0]}).status_code == 200


@pytest.mark.engine
def test_the_page_opens_without_a_key_and_what_it_asks_for_does_not(guarded):
    page = view(guarded)
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    assert "sesame" not in page.text
    for method, path in [
        ("GET", "/soft_thinking"), ("POST", "/soft_thinking/texts"), ("POST", "/generate"),
        ("POST", "/v1/chat/completions"), ("GET", "/soft_thinking/traces/trace-0"),
        ("POST", "/soft_thinking/view"), ("GET", "/soft_thinking/view/"),
    ]:  # fmt: skip
        answer = requests.request(method, guarded + path, json={"ids": [0]}, timeout=60)
        assert answer.status_code == 401, path
    assert texts(guarded, {"ids": [0]}, headers=KEY).status_code == 200


@pytest.mark.engine
def test_a_name_of_somebody_else_and_a_proxy_are_refused(guarded):
    port = guarded.rpartition(":")[2]
    for host in (f"localhost:{port}", f"127.0.0.1:{port}"):
        assert view(guarded, Host=host).status_code == 200
    refused = view(guarded, Host="evil.example")
    assert refused.status_code == 403 and "evil.example" in refused.text
    # uvicorn takes the address of a client from a proxy on this machine.
    refused = view(guarded, **{"X-Forwarded-For": "8.8.8.8"})
    assert refused.status_code == 403 and "server's machine" in refused.text
    refused = view(guarded, **{"X-Forwarded-For": "127.0.0.1"})
    assert refused.status_code == 403 and "proxy" in refused.text
    assert view(guarded).status_code == 200


def test_the_path_is_the_documented_one():
    assert access.PATH == "/soft_thinking/view"
