import pytest

from tests.engine.http import serve


@pytest.fixture(scope="session")
def arith_server(tmp_path_factory):
    """Base address of a server with the bundled model, shared by every test that needs one."""
    log = tmp_path_factory.mktemp("arith") / "server.log"
    with serve(["-m", "sglang_soft.launch_server", "--log-level", "warning"], log) as base_url:
        yield base_url
