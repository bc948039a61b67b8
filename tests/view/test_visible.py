"""Nothing that a model emits is interpreted."""

import sys
import unicodedata

import pytest

from sglang_soft.view.visible import chip, name, parts, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b]0;title\x07", "␛[31mred␛]0;title␇"),
        ("\x00\t\r\n\x7f", "␀␉␍⏎␡"),
        ("\x9b31m\x85\xad", r"\u{9B}31m\u{85}\u{AD}"),
        ("a\u202eb\u2066c\u2069\u200e\u061c", r"a\u{202E}b\u{2066}c\u{2069}\u{200E}\u{61C}"),
        ("\u200b\u200d\ufeff\u2060", r"\u{200B}\u{200D}\u{FEFF}\u{2060}"),
        ("\u2028\u2029", r"\u{2028}\u{2029}"),
        ("\U000e0041\U000e007f\ud800", r"\u{E0041}\u{E007F}\u{D800}"),
        ("<script> 43 × 34 é 数 😀", "<script> 43 × 34 é 数 😀"),
    ],
)
def test_what_is_not_seen_gets_a_name(text, shown):
    assert visible(text) == shown


def test_no_character_that_acts_passes():
    """All of Unicode."""
    for code in range(sys.maxunicode + 1):
        category = unicodedata.category(chr(code))
        acts = category in ("Cc", "Cf", "Cs", "Zl", "Zp")
        assert (name(chr(code)) is not None) == acts, hex(code)
        assert all(
            unicodedata.category(c)[0] not in "C" or c == chr(code) for c in visible(chr(code))
        )
        if acts:
            assert all(unicodedata.category(c)[0] in "LPSNM" for c in visible(chr(code)))


def test_names_are_set_off_from_what_the_model_wrote():
    assert list(parts("a\x1b\u202eb␛")) == [("a", False), ("␛\\u{202E}", True), ("b␛", False)]
    assert list(parts("")) == []


@pytest.mark.parametrize(
    ("token", "shown"),
    [(" the", "·the"), ("  ", "··"), ("a b ", "a b·"), ("\n", "⏎"), (" \n ", "·⏎·"), ("", "")],
)
def test_spaces_of_a_token_are_seen(token, shown):
    assert chip(token) == shown
