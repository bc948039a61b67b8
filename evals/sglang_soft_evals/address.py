"""Addresses of servers as people write them."""

import re
import socket
from ipaddress import ip_address
from urllib.parse import urlsplit

ALLOWED = "an address such as http://host:port"
_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_OTHER_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_ENDPOINT = re.compile(r"(/v1)?/(chat/completions|completions|generate|health|models)$")


def root(text: object) -> str:
    """`http://host:port` (with a path, if the server is below one) of a server that may be written
    as `localhost:30000`, `:30000`, `http://host/v1/` or with an endpoint.

    Raises ValueError for what is no address.
    """
    return re.sub(r"/v1$", "", _clean(text))


def api(text: object) -> str:
    """The address of an OpenAI-compatible API, its path (such as `/v1`) included; as `root`."""
    return _clean(text)


def _clean(text: object) -> str:
    url = text.strip() if isinstance(text, str) else ""
    if not _SCHEME.match(url):
        if not url or _OTHER_SCHEME.match(url):
            raise ValueError(f"must be {ALLOWED}; got {text!r}.")
        url = f"http://localhost{url}" if url.startswith(":") else f"http://{url}"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"must be {ALLOWED}; got {text!r} ({error}).") from None
    if not host or re.search(r"\s", url) or parts.query or parts.fragment:
        raise ValueError(f"must be {ALLOWED}; got {text!r}.")
    path = re.sub(r"/{2,}", "/", parts.path).rstrip("/")
    path = _ENDPOINT.sub(lambda match: match[1] or "", path)
    return f"{parts.scheme.lower()}://{parts.netloc}{path}"


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost") or host == socket.gethostname().lower():
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return mapped.is_loopback or mapped.is_unspecified
