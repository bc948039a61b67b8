"""Programs in SGLang's frontend language, on a server and on an engine: see programs.py."""

import pytest

from tests.conftest import on
from tests.engine import programs


@pytest.mark.parametrize("check", [check.__name__ for check in programs.CHECKS])
def test_on_a_server(server, check):
    from sglang_soft import lang

    getattr(programs, check)(lang.RuntimeEndpoint(server, chat_template_name="chatml"))


@on("default")
@pytest.mark.parametrize("check", [check.__name__ for check in programs.CHECKS])
def test_on_an_engine(engine, check):
    failed = engine.run(programs.on_engine, check)
    assert failed is None, failed


def test_a_backend_of_sglang_refuses_it(server):
    """Nothing is decoded plainly by mistake."""
    import sglang as sgl

    state = programs.two_pieces.run("concepts", backend=sgl.RuntimeEndpoint(server))
    assert "use a backend of sglang_soft.lang" in str(state.error())
