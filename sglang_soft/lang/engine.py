"""`EngineBackend`: programs on an engine in this process."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sglang.lang.backend.base_backend import BaseBackend
from sglang.lang.chat_template import get_chat_template, get_chat_template_by_model_path

from sglang_soft.lang.backend import Backend, Body

if TYPE_CHECKING:
    from sglang import Engine


class EngineBackend(Backend):
    """Programs on an `sglang.Engine` with the plugin.

    The threads of a program ask the engine at once: its event loop runs in a thread of its own
    while anybody asks. Do not call the engine itself in this time. Before and after, it can be used
    as ever.
    """

    def __init__(self, engine: "Engine", chat_template_name: str | None = None) -> None:
        """chat_template_name: one of SGLang's frontend language; None: by the model's path."""
        BaseBackend.__init__(self)  # that of RuntimeEndpoint asks a server
        self.engine = engine
        self.model_info = engine.get_model_info()
        self.chat_template = (
            get_chat_template(chat_template_name)
            if chat_template_name
            else get_chat_template_by_model_path(self.model_info["model_path"])
        )
        self._lock = threading.Lock()
        self._askers = 0
        self._thread = threading.Thread()

    def flush_cache(self) -> None:
        with self._loop():
            self._wait(self.engine.tokenizer_manager.flush_cache())

    def get_server_info(self) -> dict[str, Any]:
        return self.engine.get_server_info()

    @contextmanager
    def _loop(self) -> Iterator[None]:
        """The engine's event loop runs."""
        loop = self.engine.loop
        with self._lock:
            self._askers += 1
            if self._askers == 1:
                self._thread = threading.Thread(target=loop.run_forever, daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._askers -= 1
                if self._askers == 0:
                    loop.call_soon_threadsafe(loop.stop)
                    self._thread.join()

    def _wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.engine.loop).result()

    def _ask(self, body: Body) -> Any:
        with self._loop():
            return self._wait(_next(self._answers(body)))

    def _ask_stream(self, body: Body) -> Iterator[dict[str, Any]]:
        answers = self._answers(body | {"stream": True})
        with self._loop():
            try:
                while (chunk := self._wait(_next(answers))) is not None:
                    yield chunk
            finally:
                self._wait(answers.aclose())

    def _answers(self, body: Body) -> Any:
        from sglang.srt.managers.io_struct import GenerateReqInput

        return self.engine.tokenizer_manager.generate_request(GenerateReqInput(**body), None)

    def _decode(self, ids: list[list[int]]) -> list[str]:
        tokenizer = self.engine.tokenizer_manager.tokenizer
        return tokenizer.batch_decode(ids, skip_special_tokens=False)


async def _next(answers: AsyncGenerator[Any, None]) -> Any:
    """None: there is no more."""
    return await anext(answers, None)
