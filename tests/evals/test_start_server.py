"""A run that names no address starts a server of its own."""

import pytest
import requests
from sglang_soft_evals import server
from sglang_soft_evals.config import Server


@pytest.mark.engine
@pytest.mark.full
def test_a_server_is_up_inside_the_block_and_ended_after_it(tmp_path):
    with server.running(Server(model="bundled"), tmp_path / "log") as base_url:
        assert requests.get(f"{base_url}/health", timeout=60).status_code == 200
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{base_url}/health", timeout=60)
