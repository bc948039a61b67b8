"""What runs in the process of an engine under test: its start, and what tests ask of it.

`EngineUnderTest` (setups.py) calls these functions from the process of the tests, which does not
import SGLang.
"""

import asyncio
import copy
import pkgutil
import time
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


def generate_request(engine: "sglang.Engine", **fields: Any) -> list[dict] | dict:
    """The answer to a GenerateReqInput of these fields, of which `Engine.generate` takes some only.

    custom_logit_processor: here `module:Class`."""
    from sglang.srt.managers.io_struct import GenerateReqInput

    if path := fields.get("custom_logit_processor"):
        fields["custom_logit_processor"] = pkgutil.resolve_name(path).to_str()

    async def answer() -> list[dict] | dict:
        return await anext(engine.tokenizer_manager.generate_request(GenerateReqInput(**fields)))

    return engine.loop.run_until_complete(answer())


def preempted(engine: "sglang.Engine", low: list[dict], high: dict, tokens: int = 8) -> list:
    """Answers of `low`, of the first its chunks, and of `high`, which is sent when the first has so
    many tokens."""

    async def scenario() -> list:
        chunks = await engine.async_generate(stream=True, **low[0])
        others = [asyncio.create_task(engine.async_generate(**request)) for request in low[1:]]
        first, urgent = [], None
        async for chunk in chunks:
            first.append(copy.deepcopy(chunk))
            if urgent is None and len(chunk["output_ids"]) >= tokens:
                urgent = asyncio.create_task(engine.async_generate(**high))
        assert urgent is not None
        return [first, *await asyncio.gather(*others), await urgent]

    return engine.loop.run_until_complete(scenario())


def error_of(engine: "sglang.Engine", **request: Any) -> str:
    """The text of the error that a request is refused with."""
    try:
        engine.generate(**request)
    except ValueError as error:
        return str(error)
    raise AssertionError("the request was not refused")


def stream(engine: "sglang.Engine", **kwargs: Any) -> list[dict]:
    """Every chunk, as it was when it came: SGLang adds later output ids to the same lists."""
    return [copy.deepcopy(chunk) for chunk in engine.generate(stream=True, **kwargs)]


def flush_cache(engine: "sglang.Engine") -> None:
    """SGLang refuses while the scheduler has not yet put the last request away."""
    for _ in range(100):
        if engine.flush_cache().success:
            return
        time.sleep(0.05)
    raise AssertionError("the cache was not flushed")


def update_weights(engine: "sglang.Engine", path: str, version: str | None = None) -> None:
    """Load other weights in place, and forget the KV of the old ones."""
    from sglang.srt.managers.io_struct import UpdateWeightFromDiskReqInput

    request = UpdateWeightFromDiskReqInput(model_path=path, weight_version=version)
    update = engine.tokenizer_manager.update_weights_from_disk(request, None)
    success, message, *_ = engine.loop.run_until_complete(update)
    assert success, message


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


def abort_after_tokens(engine: "sglang.Engine", tokens: int, stream: bool, **request: Any) -> dict:
    """The last chunk of a request that is aborted when it has so many tokens, as a request of the
    same prompt next to it shows."""

    async def scenario() -> dict:
        shown = await engine.async_generate(stream=True, **request)
        aborted = asyncio.create_task(_last(engine, stream=stream, rid="aborted", **request))
        async for chunk in shown:
            if len(chunk["output_ids"]) == tokens:
                engine.tokenizer_manager.abort_request(rid="aborted")
        return await aborted

    return engine.loop.run_until_complete(scenario())


def abort_queued(engine: "sglang.Engine", before: int, **request: Any) -> dict:
    """The answer to a request that is aborted after `before` others, more than can run."""

    async def scenario() -> dict:
        others = [asyncio.create_task(_last(engine, **request)) for _ in range(before)]
        queued = asyncio.create_task(_last(engine, rid="aborted", **request))
        while "aborted" not in engine.tokenizer_manager.rid_to_state:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        engine.tokenizer_manager.abort_request(rid="aborted")
        last = await queued
        engine.tokenizer_manager.abort_request(abort_all=True)
        await asyncio.gather(*others)
        return last

    return engine.loop.run_until_complete(scenario())


def abort_retracted(engine: "sglang.Engine", tokens: int, **request: Any) -> dict:
    """The answer to a request that is retracted when it has so many tokens, and aborted then."""
    from sglang.srt.managers.io_struct import ContinueGenerationReqInput, PauseGenerationReqInput

    manager = engine.tokenizer_manager

    async def scenario() -> dict:
        chunks = await engine.async_generate(stream=True, rid="aborted", **request)
        last: dict = {}
        async for last in chunks:
            if len(last["output_ids"]) == tokens:
                await manager.pause_generation(PauseGenerationReqInput(mode="retract"))
                manager.abort_request(rid="aborted")
                await asyncio.sleep(0.3)
                await manager.continue_generation(ContinueGenerationReqInput())
        return last

    return engine.loop.run_until_complete(scenario())


async def _last(engine: "sglang.Engine", stream: bool = False, **request: Any) -> dict:
    answer = await engine.async_generate(stream=stream, **request)
    if stream:
        async for chunk in answer:
            last = chunk
        return last
    return answer
