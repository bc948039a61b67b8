"""Who may see the page."""

import pytest

from sglang_soft.view import access
from sglang_soft.view.access import EVERYONE, LOOPBACK, OFF
from sglang_soft.view.routes import needs_no_key


def refusal(client: str | None, *headers: tuple[str, str], view: str = LOOPBACK):
    return access.refusal(view, client, headers)


def refused(client: str | None, *headers: tuple[str, str], view: str = LOOPBACK) -> tuple[int, str]:
    found = refusal(client, *headers, view=view)
    assert found is not None, "the page is shown"
    return found


LOCAL = ("host", "127.0.0.1:30000")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:30000", "127.0.0.1", "127.9.8.7:1", "localhost", "LocalHost:30000", "[::1]:30000",
     "[::1]", "localhost:", "[::ffff:127.0.0.1]:80"],
)  # fmt: skip
@pytest.mark.parametrize("client", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.0.0.53"])
def test_a_browser_on_this_machine_sees_it(client, host):
    assert refusal(client, ("host", host)) is None


@pytest.mark.parametrize(
    "client",
    ["192.168.0.7", "10.0.0.1", "8.8.8.8", "fe80::1", "2001:db8::1", "::ffff:10.0.0.1", "0.0.0.0",
     "::", "testclient", "", None],
)  # fmt: skip
def test_another_machine_does_not(client):
    status, reason = refused(client, LOCAL)
    assert status == 403 and "server's machine" in reason and "--soft-view everyone" in reason
    assert refusal(client, LOCAL, view=EVERYONE) is None


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:30000", "localhost.evil.example", "127.0.0.1.evil.example",
     "192.168.0.7:30000", "[2001:db8::1]:1", "::1", "0.0.0.0", "", "127.0.0.1@evil.example",
     "localhost:80:evil", "[::1]evil", "[localhost]", "127.1", "2130706433"],
)  # fmt: skip
def test_a_name_that_is_not_of_this_machine_is_refused(host):
    """DNS rebinding: the address is this machine's, the name is the attacker's."""
    status, reason = refused("127.0.0.1", ("host", host))
    assert status == 403 and "[::1]" in reason
    assert host in reason


def test_no_host_and_two_hosts_are_refused():
    assert refused("127.0.0.1")[0] == 403
    assert refused("127.0.0.1", LOCAL, ("host", "evil.example"))[0] == 403


@pytest.mark.parametrize(
    "name", ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"]
)
def test_a_proxy_on_this_machine_asks_for_somebody_else(name):
    status, reason = refused("127.0.0.1", LOCAL, (name, "127.0.0.1"))
    assert status == 403 and name in reason
    assert refusal("127.0.0.1", LOCAL, (name, "127.0.0.1"), view=EVERYONE) is None


def test_off_is_not_found():
    status, reason = refused("127.0.0.1", LOCAL, view=OFF)
    assert status == 404 and "--soft-view" in reason and "SGLANG_SOFT_VIEW" in reason


def test_only_the_page_itself_needs_no_key():
    assert needs_no_key("GET", "/soft_thinking/view")
    for method, path in [
        ("POST", "/soft_thinking/view"), ("GET", "/soft_thinking"), ("GET", "/soft_thinking/view/"),
        ("POST", "/soft_thinking/texts"), ("GET", "/soft_thinking/view/../traces/a"),
        ("GET", "/soft_thinking/traces/trace-0"), ("POST", "/generate"),
    ]:  # fmt: skip
        assert not needs_no_key(method, path), path
