"""What runs in the process of an engine under test: its start, and what tests ask of it.

`EngineUnderTest` (setups.py) calls these functions from the process of the tests, which does not
import SGLang.
"""

import asyncio
import copy
import traceback
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from tests import mutants

if TYPE_CHECKING:
    import sglang


def serve(connection: Connection, job: dict[str, Any]) -> None:
    """Start an engine, then answer calls until the connection ends."""
    import sglang

    engine = None
    try:
        mutants.apply(in_engine=True)
        engine = sglang.Engine(**job["arguments"])
        connection.send((True, None))
        while True:
            function, args, kwargs = connection.recv()
            connection.send((True, function(engine, *args, **kwargs)))
    except (EOFError, ConnectionError):
        pass  # the tests are done with it
    except Exception:
        connection.send((False, traceback.format_exc()))
        raise
    finally:
        if engine is not None:
            engine.shutdown()


def generate(engine: "sglang.Engine", **kwargs: Any) -> list[dict] | dict:
    return engine.generate(**kwargs)


def stream(engine: "sglang.Engine", **kwargs: Any) -> list[dict]:
    """Every chunk, as it was when it came: SGLang adds later output ids to the same lists."""
    return [copy.deepcopy(chunk) for chunk in engine.generate(stream=True, **kwargs)]


def flush_cache(engine: "sglang.Engine") -> None:
    engine.flush_cache()


def has_plugin(engine: "sglang.Engine") -> bool:
    from sglang.srt.managers.schedule_batch import Req

    return hasattr(Req.refresh_fill_ids, "__wrapped__")


def streams(engine: "sglang.Engine", requests: list[dict]) -> list[list[dict]]:
    """The chunks of each request; all are streamed at the same time."""

    async def one(request: dict) -> list[dict]:
        chunks = await engine.async_generate(stream=True, **request)
        return [copy.deepcopy(chunk) async for chunk in chunks]

    async def together() -> list[list[dict]]:
        return await asyncio.gather(*map(one, requests))

    return engine.loop.run_until_complete(together())


def in_turn(
    engine: "sglang.Engine", first: dict, second: dict, joining: dict
) -> tuple[dict, dict, dict]:
    """Answers of three requests: `second` is sent when `first` has ended, and `joining` when
    `second` has its first token."""

    async def scenario() -> tuple[dict, dict, dict]:
        ended = await engine.async_generate(**first)
        chunks = await engine.async_generate(stream=True, **second)
        last = await anext(chunks)
        task = asyncio.create_task(engine.async_generate(**joining))
        async for chunk in chunks:
            last = chunk
        return ended, last, await task

    return engine.loop.run_until_complete(scenario())


def abort_after_first_token(engine: "sglang.Engine", **request: Any) -> dict:
    """The last chunk."""

    async def scenario() -> dict:
        chunks = await engine.async_generate(stream=True, rid="aborted", **request)
        last = await anext(chunks)
        engine.tokenizer_manager.abort_request(rid="aborted")
        async for chunk in chunks:
            last = chunk
        return last

    return engine.loop.run_until_complete(scenario())
