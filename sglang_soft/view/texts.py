"""The text of single tokens, for people.

A token need not be text: it may be a part of a character. Such bytes are shown as `\\xNN`.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

MOST = 65_536
"""Ids in one request."""


def asked(body: Any, vocabulary: int) -> list[int]:
    """The ids of a body `{"ids": [...]}`. vocabulary: number of ids that the model knows.

    Raises ValueError: names the key, the value and what is allowed.
    """
    ids = body.get("ids") if isinstance(body, dict) else None
    if not isinstance(ids, list):
        raise ValueError('the body must be an object {"ids": [...]}.')
    if len(ids) > MOST:
        raise ValueError(f"ids must be at most {MOST} token ids; got {len(ids)}.")
    for i, value in enumerate(ids):
        if type(value) is not int or not 0 <= value < vocabulary:
            raise ValueError(
                f"ids[{i}] must be a token id in [0, {vocabulary - 1}]; got {value!r:.100}."
            )
    return ids


def answer(tokenizer: Any, ids: Sequence[int]) -> dict[str, Any]:
    """`texts`, in the order of `ids`, and `bytes`, in hexadecimal, of those ids that are no text
    alone, by id: with them a client can put characters together again."""
    names = {token: tokenizer.convert_ids_to_tokens(token) for token in ids}
    texts = {token: token_text(tokenizer, token) for token in names}
    parts = {
        str(token): raw.hex() for token, name in names.items() if (raw := _part(name)) is not None
    }
    return {"texts": [texts[token] for token in ids], "bytes": parts}


def _part(name: Any) -> bytes | None:
    """The bytes of a token that is no text alone."""
    raw = name if isinstance(name, bytes) else _bytes_of(name) if isinstance(name, str) else None
    try:
        if raw is not None:
            raw.decode()
    except UnicodeDecodeError:
        return raw
    return None


def token_text(tokenizer: Any, token: int) -> str:
    """The text that a token adds in the middle of a line, special tokens included.

    tokenizer: of transformers. A row of the model's table that no token has is `<id>`.
    """
    name = tokenizer.convert_ids_to_tokens(token)
    if name is None:
        return f"<{token}>"
    text = tokenizer.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False)
    if isinstance(name, bytes):
        return name.decode(errors="backslashreplace")
    if name.startswith("▁") and not text.startswith(" "):
        return " " + text  # SentencePiece drops the space at the beginning of a text
    if "\ufffd" in text and (raw := _bytes_of(name)) is not None:
        return raw.decode(errors="backslashreplace")
    return text


def _bytes_of(name: str) -> bytes | None:
    """Of a token's name, in SentencePiece's or in byte-level BPE's writing; None: of neither."""
    if re.fullmatch("<0x[0-9A-Fa-f]{2}>", name):
        return bytes([int(name[3:5], 16)])
    table = _byte_level()
    return bytes(table[c] for c in name) if all(c in table for c in name) else None


@cache
def _byte_level() -> dict[str, int]:
    """Characters that stand for bytes: GPT-2's table, which every byte-level BPE has. Printable
    ones stand for themselves, the others are moved to U+0100 and up, in order."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [byte for byte in range(256) if byte not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(moved)}
