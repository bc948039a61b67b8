"""A run that names no address starts a server of its own."""

import asyncio

import pytest
import requests
from sglang_soft_evals import facts, server
from sglang_soft_evals.client import Client
from sglang_soft_evals.config import Server


@pytest.mark.engine
@pytest.mark.full
def test_a_server_is_up_inside_the_block_and_ended_after_it(tmp_path):
    with server.running(Server(model="bundled"), tmp_path / "log") as base_url:
        assert requests.get(f"{base_url}/health", timeout=60).status_code == 200
        first = settings(base_url)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{base_url}/health", timeout=60)
    with server.running(Server(model="bundled"), tmp_path / "log") as base_url:
        assert settings(base_url) == first, "a run with a server of its own could not be resumed"


def settings(base_url: str) -> dict:
    async def go() -> dict:
        client = Client(base_url, timeout_s=60)
        try:
            return await facts.settings(client)
        finally:
            await client.close()

    return asyncio.run(go())
