"""Who may see the page.

`--soft-view loopback`: a browser on this machine that came here by a loopback name. The name is
checked as well as the address: a web site can point a name of its own at 127.0.0.1 (DNS rebinding),
and a proxy on this machine asks from a loopback address for somebody else.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address

PATH = "/soft_thinking/view"
OFF, LOOPBACK, EVERYONE = VIEWS = ("off", "loopback", "everyone")
"""Values of `--soft-view`."""
_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
_EVERYONE = "--soft-view everyone (SGLANG_SOFT_VIEW=everyone) shows it to others."


def refusal(
    view: str, client: str | None, headers: Iterable[tuple[str, str]]
) -> tuple[int, str] | None:
    """HTTP status and reason why a browser does not get the page; None: it does.

    view: the setting. client: address of the peer; None: not known. headers: of the request, names
    in lower case, one entry for each time that a header was sent.
    """
    if view == OFF:
        return (
            404,
            "This page is off. The server was started without --soft-view (SGLANG_SOFT_VIEW).",
        )
    if view == EVERYONE:
        return None
    found = list(headers)
    if not _is_loopback(client or ""):
        return 403, f"This page is for browsers on the server's machine; {_EVERYONE}"
    if through := sorted({name for name, _ in found} & {*_FORWARDED}):
        return 403, f"This request came through a proxy ({through[0]}); {_EVERYONE}"
    hosts = [value for name, value in found if name == "host"]
    if len(hosts) != 1 or not _is_loopback(_without_port(hosts[0])):
        return 403, (
            "This page is for browsers that ask for 127.0.0.1, localhost or [::1]; this one asked "
            f"for {', '.join(hosts) or 'no host'!r:.200}. {_EVERYONE}"
        )
    return None


def _without_port(host: str) -> str:
    """Of a Host header: `name`, `name:port`, `[v6]`, `[v6]:port`; "": it is none of these."""
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^\[\]:]+))(?::\d*)?", host.strip())
    return (match[1] or match[2]) if match else ""


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped  # a dual-stack socket
    return address.is_loopback
