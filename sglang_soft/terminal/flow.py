"""A streamed answer as pieces of text, each with the concept token that it stands for. No I/O."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from sglang_soft.client import Chunk
from sglang_soft.trace import Concept

Pieces = Callable[[Sequence[int]], Mapping[int, "Piece"]]
"""The pieces of tokens, by id."""


class Piece(NamedTuple):
    """What a token is, alone."""

    text: str
    raw: bytes = b""
    """Its bytes, where they are no text alone."""


class Span(NamedTuple):
    """Text that came with one token; of a character of several tokens, with the last of them."""

    text: str
    concept: Concept | None = None
    """None: it is outside of the thought."""
    answer: bool = False
    """It came after the thought."""
    silent: bool = False
    """The server leaves it out of its text: a special token, such as the end of the turn."""


class Flow:
    """Puts the tokens of the chunks of a `/generate` stream and their concept tokens together."""

    def __init__(self, prompt_tokens: int, pieces: Pieces) -> None:
        self._position = prompt_tokens
        """Of the next output token."""
        self._pieces = pieces
        self._start: int | None = None
        self.concepts: list[Concept] = []
        """All steps so far."""
        self._rest, self._rest_of = b"", Span("")
        """The beginning of a character."""

    def spans(self, chunk: Chunk) -> Iterator[Span]:
        self.concepts += chunk.concepts
        if self._start is None:
            self._start = chunk.start
        known = self._pieces(chunk.tokens)
        for token in chunk.tokens:
            concept, answer = self._step()
            piece = known[token]
            silent = not chunk.text and not piece.raw and concept is None
            yield from self._span(piece, Span("", concept, answer, silent))
            self._position += 1

    def end(self) -> Iterator[Span]:
        """What is left of a character that did not become whole."""
        if self._rest:
            yield self._rest_of._replace(text=self._rest.decode(errors="backslashreplace"))
            self._rest = b""

    def _step(self) -> tuple[Concept | None, bool]:
        """Of the token at this position: its concept token, and whether the thought is over."""
        if self._start is None or self._position < self._start:
            return None, False
        step = self._position - self._start
        return (self.concepts[step], False) if step < len(self.concepts) else (None, True)

    def _span(self, piece: Piece, of: Span) -> Iterator[Span]:
        if not piece.raw:
            yield from self.end()
            yield of._replace(text=piece.text)
            return
        self._rest, self._rest_of = self._rest + piece.raw, of
        try:
            text = self._rest.decode()
        except UnicodeDecodeError as error:
            if error.reason == "unexpected end of data":
                return
            text = self._rest.decode(errors="backslashreplace")
        self._rest = b""
        yield of._replace(text=text)
