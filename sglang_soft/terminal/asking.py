"""What `sglang-soft ask` sends: the question as the server's chat template writes it, then a raw
prompt, since only that streams every concept token as it is made."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from sglang_soft.client import Answer, Chunk, Client, ServerError
from sglang_soft.terminal.flow import Flow, Piece, Span


class Asked:
    """One question to a server. Iterate over `spans`; then `answer` is there.

    Raises what a Client raises.
    """

    def __init__(self, client: Client, question: str, options: Mapping[str, Any]) -> None:
        """options: of `Client.stream`."""
        self._client, self._options = client, options
        self._known: dict[int, Piece] = {}
        body = {"model": "default", "messages": [{"role": "user", "content": question}]}
        self.prompt: list[int] = self._post("/tokenize", body)["tokens"]
        self.flow = Flow(len(self.prompt), self._pieces)
        self.answer: Answer | None = None

    def spans(self) -> Iterator[Span]:
        options: Any = self._options
        chunk: Chunk
        for chunk in self._client.stream(prompt=self.prompt, **options):
            yield from self.flow.spans(chunk)
            self.answer = chunk.answer
        yield from self.flow.end()

    def texts(self, ids: Sequence[int]) -> list[str]:
        """Of single tokens."""
        known = self._pieces(ids)
        return [known[token].text for token in ids]

    def _pieces(self, ids: Sequence[int]) -> Mapping[int, Piece]:
        new = sorted({*ids} - self._known.keys())
        if new:
            found = self._post("/soft_thinking/texts", {"ids": new})
            for token, text in zip(new, found["texts"], strict=True):
                raw = bytes.fromhex(found["bytes"].get(str(token), ""))
                self._known[token] = Piece(text, raw)
        return self._known

    def _post(self, path: str, body: Any) -> Any:
        answer = self._client.post(path, body)
        try:
            return orjson.loads(answer)
        except orjson.JSONDecodeError:
            said = answer[:60].decode(errors="replace")
            raise ServerError(200, f"{path}: this is no SGLang server; it said {said!r}.") from None
