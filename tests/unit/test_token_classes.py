"""Classes of tokens, and what else the methods take from a tokenizer and a vocabulary."""

import pytest
import torch
from sglang_soft_kernels.blending import naive
from sglang_soft_kernels.latent import naive as latent

from sglang_soft import methods
from sglang_soft.engine.pool import ConceptPool
from sglang_soft.methods import token_classes
from tests.oracle.math_tokens import math_ids, symbols

V = 1000


class Words:
    """A tokenizer with one id for every text that it is asked for, in `known` or from 500 on;
    "left" is a piece of its own wherever it stands."""

    unk_token_id = 7

    def __init__(self, **known: int) -> None:
        self.known = dict(known)

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        assert not add_special_tokens
        before, piece, after = text.partition("left")
        parts = [part for part in (before, piece, after) if part]
        return [self.known.setdefault(part, 500 + len(self.known)) for part in parts]

    def __len__(self) -> int:
        return max(self.known.values(), default=-1) + 1

    def batch_decode(self, ids: list[list[int]], clean_up_tokenization_spaces: bool) -> list[str]:
        assert not clean_up_tokenization_spaces
        texts = {known: text for text, known in self.known.items()}
        return [texts.get(i, "") for (i,) in ids]


def test_math_tokens_are_those_of_the_oracle():
    tokenizer = Words()
    found = token_classes.TokenClasses(tokenizer)
    assert found["math"] == math_ids(tokenizer) and len(symbols()) == 186
    wanted = ["+", "0", "z", "Z", "\\frac", "left", "\\", "[", "\\{", "\\sqrt[]"]
    assert {tokenizer.known[text] for text in wanted} <= found["math"]
    assert dict(token_classes.TokenClasses(None)) == {}


def test_tokens_that_end_latent_steps():
    texts = {" .\n\n": 1, "\n \n": 2, "</think>": 3, "<|im_end|>": 4, "<|endoftext|>": 5, "\n": 6,
             "think": 7, ".": 8}  # fmt: skip
    assert token_classes.TokenClasses(Words(**texts))["stops latent"] == {1, 2, 3, 4, 5}


def test_a_table_holds_the_class_and_is_made_once():
    pool = ConceptPool(3, 4, "cpu", token_ids={"math": {3, 5, V, V + 9}})
    table = pool.token_class("math", V)
    assert table.dtype == torch.bool and table.nonzero()[:, 0].tolist() == [3, 5]
    assert pool.token_class("math", V).data_ptr() == table.data_ptr()
    assert len(pool.token_class("other", V)) == V and not pool.token_class("other", V).any()


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("selar", "selar_alone", "math"),
        ("swireasoning", "swi_alone", "math"),
        ("later", "later_stop", "text"),
    ],
)
def test_without_a_tokenizer_a_class_is_refused(name, key, value):
    method = methods.get(name)
    with pytest.raises(
        ValueError, match=f"soft_thinking.{key}={value} .*skip-tokenizer-init.*{key}=none"
    ):
        method.complete(method.Params(), None, V)
    params = method.Params(**{key: "none"})
    assert method.complete(params, None, V) == params


def test_the_token_of_swireasonings_first_step():
    method = methods.get("swireasoning")

    def first(tokenizer, **given) -> int | None:
        params = method.complete(method.Params(**given), tokenizer, V)
        return params.swi_first_token

    assert first(Words(**{"\\n": 42})) == 42
    assert first(Words(**{"\\n": 7})) is None  # the tokenizer does not know it
    assert first(Words(), swi_first_token=3) == 3
    assert first(None, swi_alone="none") is None
    with pytest.raises(
        ValueError, match=r"swi_first_token is out of range .*\[0, 999\].*; got 1000"
    ):
        first(Words(), swi_first_token=V)


def test_kernels_read_the_parameters_in_their_order():
    """Their columns are numbers."""
    swi = [
        "window",
        "alpha",
        "beta",
        "max_switches",
        "first_share",
        "first_token",
        "blend",
        "alone",
        "token",
        "latent_above",
        "explicit_below",
    ]
    columns = (naive.WINDOW, naive.ALPHA, naive.BETA, naive.MAX_SWITCHES, naive.FIRST_SHARE)
    columns += (naive.FIRST_TOKEN, naive.BLEND, naive.ALONE, naive.SHOWN)
    columns += (naive.LATENT_ABOVE, naive.EXPLICIT_BELOW)
    names = methods.get("swireasoning").arg_names
    assert [names[column] for column in columns] == [f"swi_{name}" for name in swi]
    names = methods.get("later").arg_names
    columns = (latent.TOKENS, latent.ENTROPY, latent.STOP)
    assert [names[column] for column in columns] == [
        f"later_{name}" for name in ("tokens", "entropy", "stop")
    ]
    names = methods.get("selar").arg_names
    columns = (naive.THRESHOLD, naive.CONTRAST, naive.SELAR_ALONE)
    assert [names[column] for column in columns] == [
        "selar_threshold",
        "selar_contrast",
        "selar_alone",
    ]
