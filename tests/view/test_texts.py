"""The text of single tokens, and the headers of the page."""

import base64
import hashlib

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from sglang_soft.view import routes, texts


def byte_level() -> PreTrainedTokenizerFast:
    """Every byte is a token, and `Ġthe` is one."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {c: i for i, c in enumerate([*alphabet, "Ġt", "he", "Ġthe", "ï¿½", "ðŁĺ"])}
    made = Tokenizer(models.BPE(vocab, [("Ġ", "t"), ("h", "e"), ("Ġt", "he")]))
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken("<think>", special=True)])
    return PreTrainedTokenizerFast(tokenizer_object=made)


def sentencepiece() -> PreTrainedTokenizerFast:
    """As Llama 2's: `▁` for a space, and bytes as `<0xNN>`."""
    names = ["<unk>", "▁the", "the", "▁", *(f"<0x{b:02X}>" for b in range(256))]
    made = Tokenizer(
        models.BPE({n: i for i, n in enumerate(names)}, [], unk_token="<unk>", byte_fallback=True)
    )
    made.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return PreTrainedTokenizerFast(tokenizer_object=made)


def text(tokenizer, name: str) -> str:
    return texts.token_text(tokenizer, tokenizer.convert_tokens_to_ids(name))


def test_tokens_of_byte_level_bpe():
    tokenizer = byte_level()
    assert text(tokenizer, "Ġthe") == " the" and text(tokenizer, "Ċ") == "\n"
    assert text(tokenizer, "<think>") == "<think>"
    # A part of an emoji, and a whole character that happens to be the replacement character.
    assert text(tokenizer, "ðŁĺ") == r"\xf0\x9f\x98" and text(tokenizer, "Ģ") == r"\x80"
    assert text(tokenizer, "ï¿½") == "\ufffd"
    for byte, name in enumerate(
        sorted(pre_tokenizers.ByteLevel.alphabet(), key=lambda c: texts._byte_level()[c])
    ):
        expected = chr(byte) if byte < 128 else f"\\x{byte:02x}"
        assert text(tokenizer, name) == expected


def test_the_bytes_of_what_is_no_text_alone():
    for tokenizer, names in [
        (byte_level(), ["ðŁĺ", "Ģ", "Ġthe"]),
        (sentencepiece(), ["<0xE2>", "▁the"]),
    ]:
        ids = tokenizer.convert_tokens_to_ids(names)
        found = texts.answer(tokenizer, [*ids, ids[0]])
        assert found["texts"] == [text(tokenizer, n) for n in [*names, names[0]]]
        assert list(found["bytes"]) == [str(i) for i in ids[:-1]]
    found = texts.answer(byte_level(), byte_level().convert_tokens_to_ids(["ðŁĺ", "Ģ"]))
    assert bytes.fromhex("".join(found["bytes"].values())).decode() == "😀"
    assert texts.answer(byte_level(), [10**4]) == {"texts": ["<10000>"], "bytes": {}}


def test_tokens_of_sentencepiece():
    tokenizer = sentencepiece()
    assert text(tokenizer, "▁the") == " the" and text(tokenizer, "the") == "the"
    assert text(tokenizer, "▁") == " "
    assert text(tokenizer, "<0x0A>") == "\n" and text(tokenizer, "<0x41>") == "A"
    assert text(tokenizer, "<0xE2>") == r"\xe2"


def test_a_row_without_a_token_is_named():
    tokenizer = byte_level()
    assert texts.token_text(tokenizer, len(tokenizer) + 5) == f"<{len(tokenizer) + 5}>"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (None, ["ids", "object"]), ([1], ["object"]), ({}, ["object"]), ({"ids": "1"}, ["object"]),
        ({"ids": [1, 100]}, ["ids[1]", "[0, 99]", "100"]), ({"ids": [-1]}, ["ids[0]", "-1"]),
        ({"ids": [True]}, ["ids[0]", "True"]), ({"ids": [1.0]}, ["ids[0]", "1.0"]),
        ({"ids": ["1"]}, ["ids[0]", "'1'"]), ({"ids": [0] * (texts.MOST + 1)}, ["65536", "65537"]),
    ],
)  # fmt: skip
def test_bad_ids_are_named(body, words):
    with pytest.raises(ValueError) as error:
        texts.asked(body, 100)
    assert all(word in str(error.value) for word in words), error.value
    assert texts.asked({"ids": [0, 99]}, 100) == [0, 99]


def test_only_the_scripts_of_the_page_may_run():
    code = "run();\nconst less = 1 < 2;"
    html = (
        f'<html><script type="application/json" id="trace">{{}}</script><SCRIPT>{code}</SCRIPT>'
        "</html>"
    )
    policy = routes.headers(html)["Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy and policy.count("sha256") == 1
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy
    assert "script-src 'none'" in routes.headers("<html></html>")["Content-Security-Policy"]
