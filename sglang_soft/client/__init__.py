"""A Python client of a server with the plugin: ask, think, stream, go on from a thought, fork it,
verify it.

`Client` and `AsyncClient` have the same methods. What they send and how they read it is in
calls.py, answer.py and stream.py, which do no I/O. Needs httpx, numpy, orjson and msgspec; neither
torch nor sglang, but for `verify`.
"""

from sglang_soft.client.aio import AsyncClient
from sglang_soft.client.answer import Answer, Kept, Summary, Tokens
from sglang_soft.client.calls import Options, Thought
from sglang_soft.client.errors import NoAnswer, ServerError, UnknownTrace
from sglang_soft.client.stream import Chunk
from sglang_soft.client.sync import Client

__all__ = [
    "Answer", "AsyncClient", "Chunk", "Client", "Kept", "NoAnswer", "Options", "ServerError",
    "Summary", "Thought", "Tokens", "UnknownTrace",
]  # fmt: skip
