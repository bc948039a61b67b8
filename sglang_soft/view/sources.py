"""Where the texts of a trace's tokens come from: a tokenizer on this machine, or a server."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import orjson

from sglang_soft.client import Client
from sglang_soft.trace import Trace
from sglang_soft.trace.check import TOKENIZER_PROBE
from sglang_soft.view import texts

UNKNOWN = (
    "note: the tokenizer of this trace is not known here, so tokens are shown as numbers; give "
    "--tokenizer or --server."
)
BUNDLED = Path(__file__).parents[1] / "bundled"


class Source(Protocol):
    def texts(self, ids: Sequence[int]) -> list[str]:
        """Of each token alone."""

    def decode(self, ids: Sequence[int]) -> str:
        """Of tokens together."""


class Local(NamedTuple):
    """A tokenizer of transformers, or a stand-in that has what is used of one."""

    tokenizer: Any

    def texts(self, ids: Sequence[int]) -> list[str]:
        return [texts.token_text(self.tokenizer, token) for token in ids]

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)

    def is_of(self, trace: Trace) -> bool | None:
        """Whether the trace's ids are this tokenizer's; None: the trace does not say."""
        probe = trace.tokenizer.get("probe")
        if not isinstance(probe, list):
            return None
        ours = self.tokenizer.encode(TOKENIZER_PROBE, add_special_tokens=False)
        # Whether special tokens stand around it depends on how the tokenizer was loaded.
        starts = range(len(probe) - len(ours) + 1)
        return any(probe[at : at + len(ours)] == ours for at in starts)


class OfServer(NamedTuple):
    client: Client

    def texts(self, ids: Sequence[int]) -> list[str]:
        found: list[str] = []
        for at in range(0, len(ids), texts.MOST):
            some = list(ids[at : at + texts.MOST])
            answer = self.client.post("/soft_thinking/texts", {"ids": some})
            found += orjson.loads(answer)["texts"]
        return found

    def decode(self, ids: Sequence[int]) -> str:
        return orjson.loads(self.client.post("/detokenize", {"tokens": list(ids)}))["text"]


class _Fast:
    """A tokenizer.json, without the seconds that an import of transformers takes."""

    def __init__(self, file: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(file))

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids

    def decode(self, ids: list[int], *, skip_special_tokens: bool, **_: Any) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)

    def convert_ids_to_tokens(self, token: int) -> str | None:
        return self._tokenizer.id_to_token(token)


def load(path: str | Path) -> Local:
    """The tokenizer in a folder.

    Raises:
        ValueError: there is none.
    """
    file = Path(path) / "tokenizer.json"
    try:
        if file.is_file():
            return Local(_Fast(file))
        from transformers import AutoTokenizer

        return Local(AutoTokenizer.from_pretrained(path))
    except Exception as error:  # transformers and tokenizers raise many kinds
        raise ValueError(f"--tokenizer {path}: {error}") from error


def find(trace: Trace) -> Local | None:
    """The tokenizer that a trace's fingerprint names by a folder on this machine, or the bundled
    one where that is it."""
    folders = [part.get(key) for part in (trace.tokenizer, trace.model) for key in ("path", "name")]
    for folder in [*folders, BUNDLED]:
        if isinstance(folder, str | Path) and Path(folder).is_dir():
            try:
                found = load(folder)
            except ValueError:
                continue
            if found.is_of(trace):
                return found
    return None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--tokenizer, --server and --api-key."""
    texts = parser.add_mutually_exclusive_group()
    texts.add_argument("--tokenizer", metavar="PATH", help="folder of the model's tokenizer")
    texts.add_argument("--server", metavar="URL", help="take texts of tokens from a running server")
    parser.add_argument("--api-key", help="of --server")


def chosen(args: argparse.Namespace, traces: Sequence[Trace]) -> Source | None:
    """What the arguments name, else what the first trace does. None: it is not known.

    Raises ValueError: a tokenizer that is not that of the traces.
    """
    if args.server is not None:
        return OfServer(Client(args.server, args.api_key))
    if args.tokenizer is None:
        return find(traces[0])
    local = load(args.tokenizer)
    for trace in traces:
        if local.is_of(trace) is False:
            raise ValueError(
                f"--tokenizer {args.tokenizer} is not the one that the trace was made with: it "
                "gives other ids to the same text."
            )
    return local
