"""`make run` talks to its own server or to nobody."""

import socket

import demo
import pytest


def test_a_port_that_is_taken_is_named_before_anything_starts():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match=f"port {port} is not free"):
            demo.check_port(port)
    demo.check_port(port)
