"""Classes of tokens that a method treats apart, or after which a stopping rule acts: sets of ids,
made from the tokenizer once a server.

A method names its classes in `Method.token_classes` and reads one as a [V] bool table on the device
(`StepContext.token_class`). A set is made on the host at its first use, and its table uploaded
then; a server that was asked for Soft Thinking makes all sets at its start.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

from sglang_soft.params import KEY

MATH = "math"
STOPS_LATENT = "stops latent"

_SYMBOLS = r"""
    + - * / ^ = < > ( ) [ ] { } _ |
    \leq \geq \neq \approx \sim \equiv \to \implies \iff
    \left( \right) \left[ \right] \left\{ \right\} \left \right
    \begin{pmatrix} \end{pmatrix} \frac \dfrac \sqrt \sqrt[] \binom \choose
    \in \notin \subset \supset \subseteq \supseteq \cup \cap \emptyset \varnothing
    \alpha \beta \gamma \delta \epsilon \zeta \theta \lambda \mu \nu \pi
    \sin \cos \tan \cot \cotg \sec \csc \arcsin \arccos \arctan \log \ln \exp
    \cdot \dots \ldots \cdots \vdots \ddots \mathbb \mathbf \mathrm \text \mbox
    \infty \circ \prime \ast \star \triangle \triangleleft \triangleright \perp \parallel \angle
    \boxed \overline \underline \lceil \rceil \lfloor \rfloor \mid \vert \Vert
    \because \therefore \forall \exists \wedge \vee \neg
    \sum \prod \int \lim \min \max \arg \deg \gcd \operatorname
    0 1 2 3 4 5 6 7 8 9
    a b c d e f g h i j k l m n o p q r s t u v w x y z
    A B C D E F G H I J K L M N O P Q R S T U V W X Y Z
"""
"""The list of sdc17/SwiReasoning (`get_math_symbols_ids`), which SeLaR shares."""


def _math(tokenizer: Any) -> set[int]:
    """Every id in the encoding of a symbol. So the pieces of a command that is several tokens
    belong to it as well, the backslash for one, as in the authors' code."""
    return {i for s in _SYMBOLS.split() for i in tokenizer.encode(s, add_special_tokens=False)}


@lru_cache(maxsize=1)  # four classes read them, and 150,000 tokens take a second
def _texts(tokenizer: Any) -> list[str]:
    """The text of each single token, as it is: some tokenizers take the space before a full stop
    away."""
    single = [[i] for i in range(len(tokenizer))]
    return tokenizer.batch_decode(single, clean_up_tokenization_spaces=False)


def _matching(pattern: str) -> Callable[[Any], set[int]]:
    """The class of tokens whose text has the pattern."""

    def ids(tokenizer: Any) -> set[int]:
        found = re.compile(pattern).search
        return {i for i, text in enumerate(_texts(tokenizer)) if found(text)}

    return ids


_SENTENCE = r"""[.!?。！？…]["'”’»)\]}*]*\s*$|\n"""
_STOPS_LATENT = ("\n\n", "</think>", "<|endoftext|>", "<|im_end|>")
"""The list of LaTER's authors."""


def _stops_latent(tokenizer: Any) -> set[int]:
    """Every token whose text, spaces taken out, holds one of `_STOPS_LATENT`."""
    texts = [text.replace(" ", "") for text in _texts(tokenizer)]
    return {i for i, text in enumerate(texts) if any(s in text for s in _STOPS_LATENT)}


EVERY = "every"
"""The class of all tokens, which needs no tokenizer."""
CLASSES: dict[str, Callable[[Any], Collection[int]]] = {
    MATH: _math,
    STOPS_LATENT: _stops_latent,
    "sentence": _matching(_SENTENCE),
    "clause": _matching(_SENTENCE + r"|[;:；：]\s*$"),
    "paragraph": _matching(r"\n\n"),
}
"""From a tokenizer to the ids of a class. A method of one's own may add to it."""


class TokenClasses(Mapping[str, Collection[int]]):
    """Ids by name of a class, each made at its first use."""

    def __init__(self, tokenizer: Any = None) -> None:
        """tokenizer: None: there are no classes; `check` refuses the requests that need one."""
        self.tokenizer = tokenizer
        self._made: dict[str, Collection[int]] = {}

    def __getitem__(self, name: str) -> Collection[int]:
        if self.tokenizer is None:
            raise KeyError(name)
        if name not in self._made:
            self._made[name] = CLASSES[name](self.tokenizer)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(() if self.tokenizer is None else CLASSES)

    def __len__(self) -> int:
        return 0 if self.tokenizer is None else len(CLASSES)

    def make_all(self) -> None:
        for _ in self.values():
            pass


@lru_cache(maxsize=2)
def of(tokenizer: Any) -> TokenClasses:
    return TokenClasses(tokenizer)


def check(tokenizer: Any, key: str, value: str, without: str = "none") -> None:
    """Raises ValueError: parameter `key` names a class, and there is no tokenizer. without: the
    value that needs none."""
    if value != without and tokenizer is None:
        raise ValueError(
            f"{KEY}.{key}={value} needs a tokenizer, and this server has none "
            f"(--skip-tokenizer-init); send {key}={without}."
        )


def only_token(tokenizer: Any, text: str) -> int | None:
    """The id of `text`, if it is one token."""
    ids = [] if tokenizer is None else tokenizer.encode(text, add_special_tokens=False)
    known = len(ids) == 1 and ids[0] != getattr(tokenizer, "unk_token_id", None)
    return ids[0] if known else None
