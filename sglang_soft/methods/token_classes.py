"""Classes of tokens that a method treats apart: sets of ids, made from the tokenizer once a server.

A method names its classes in `Method.token_classes` and reads one as a [V] bool table on the device
(`StepContext.token_class`). The scheduler makes the sets at its start, on the host; each table is
uploaded once, at its first use.
"""

from collections.abc import Callable, Collection
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


_STOPS_LATENT = ("\n\n", "</think>", "<|endoftext|>", "<|im_end|>")
"""The list of LaTER's authors."""


def _stops_latent(tokenizer: Any) -> set[int]:
    """Every token whose text, spaces taken out, holds one of `_STOPS_LATENT`."""
    texts = {i: tokenizer.decode([i]) for i in set(tokenizer.get_vocab().values())}
    return {i for i, t in texts.items() if any(s in t.replace(" ", "") for s in _STOPS_LATENT)}


CLASSES: dict[str, Callable[[Any], Collection[int]]] = {
    MATH: _math,
    STOPS_LATENT: _stops_latent,
}
"""From a tokenizer to the ids of a class. A method of one's own may add to it."""


def ids_by_name(tokenizer: Any) -> dict[str, Collection[int]]:
    """All classes. Empty without a tokenizer: then `check` refuses the requests that need one."""
    return {} if tokenizer is None else dict(_ids_by_name(tokenizer))


@lru_cache(maxsize=2)  # some read the text of every token: a second with 150,000 of them
def _ids_by_name(tokenizer: Any) -> dict[str, Collection[int]]:
    return {name: make(tokenizer) for name, make in CLASSES.items()}


def check(tokenizer: Any, key: str, value: str) -> None:
    """Raises ValueError: parameter `key` names a class, and there is no tokenizer."""
    if value != "none" and tokenizer is None:
        raise ValueError(
            f"{KEY}.{key}={value} needs a tokenizer, and this server has none "
            f"(--skip-tokenizer-init); send {key}=none."
        )


def only_token(tokenizer: Any, text: str) -> int | None:
    """The id of `text`, if it is one token."""
    ids = [] if tokenizer is None else tokenizer.encode(text, add_special_tokens=False)
    known = len(ids) == 1 and ids[0] != getattr(tokenizer, "unk_token_id", None)
    return ids[0] if known else None
