"""Tokens, their concept tokens and their text are put together, and nothing drives a terminal."""

import io
import re

import numpy as np
import pytest
from rich.console import Console

from sglang_soft.client import Chunk
from sglang_soft.terminal.colours import BARS, bars, style, written
from sglang_soft.terminal.flow import Flow, Piece, Span
from sglang_soft.terminal.screen import Screen
from sglang_soft.trace import Concept

PIECES = {
    1: Piece("hm"), 2: Piece("</think>"), 3: Piece(" 42"), 4: Piece(r"\xf0\x9f", b"\xf0\x9f"),
    5: Piece(r"\x98\x80", b"\x98\x80"), 6: Piece("<think>"), 7: Piece(r"\x80", b"\x80"),
    8: Piece("<|end|>"),
}  # fmt: skip


def concept(weight: float, entropy: float = 0.5) -> Concept:
    ids, weights = np.array([1, 9], np.int32), np.array([weight, 1 - weight], np.float32)
    return Concept(ids, weights, entropy, None)


def spans(*chunks: Chunk, prompt: int = 10) -> list[Span]:
    flow = Flow(prompt, lambda ids: {i: PIECES[i] for i in ids})
    found = [span for chunk in chunks for span in flow.spans(chunk)]
    return [*found, *flow.end()]


def test_each_token_of_a_thought_has_its_concept_token():
    first, second, last = concept(0.5), concept(0.75), concept(1.0)
    found = spans(
        Chunk("<think>", tokens=(6,)),  # the thought begins one token later
        Chunk("hmhm", concepts=(first, second), tokens=(1, 1), start=11),
        Chunk("</think> 42", concepts=(last,), tokens=(2, 3), start=11),
        Chunk(tokens=(8,)),
    )
    assert [span.text for span in found] == ["<think>", "hm", "hm", "</think>", " 42", "<|end|>"]
    assert [span.concept for span in found] == [None, first, second, last, None, None]
    assert [span.answer for span in found] == [False] * 4 + [True] * 2
    assert [span.silent for span in found] == [False] * 5 + [True]


def test_a_character_of_several_tokens_becomes_whole():
    found = spans(
        Chunk(tokens=(4,), concepts=(concept(0.5),), start=10),
        Chunk("😀", tokens=(5, 3), concepts=(concept(0.9),), start=10),
    )
    assert [span.text for span in found] == ["😀", " 42"]
    assert found[0].concept is not None and found[0].concept.weights[0] == np.float32(0.9)


@pytest.mark.parametrize(
    ("tokens", "texts"),
    [((4, 1), [r"\xf0\x9f", "hm"]), ((4,), [r"\xf0\x9f"]), ((7, 1), [r"\x80", "hm"]),
     ((4, 4, 1), [r"\xf0\x9f\xf0\x9f", "hm"])],
)  # fmt: skip
def test_bytes_that_become_no_character_are_shown(tokens, texts):
    assert [span.text for span in spans(Chunk("?", tokens=tokens))] == texts


def screen(texts: list[str], **console) -> str:
    out = io.StringIO()
    made = Console(file=out, width=20, legacy_windows=False, **console)
    with Screen(made) as shown:
        for text in texts:
            shown.show(Span(text, concept(0.5)))
        shown.show(Span("Answer", None, True))
    return out.getvalue()


EVIL = [
    "\x1b]0;owned\x07",
    "\x1b[2J\x1b[H",
    "\x9b31m",
    "\u202egnp.exe",
    "[red]not markup[/red]",
    "\r",
]


@pytest.mark.parametrize("terminal", [True, False])
def test_what_a_model_emits_does_not_drive_the_terminal(terminal):
    shown = screen(EVIL, force_terminal=terminal, color_system="256" if terminal else None)
    ours = re.compile(r"\x1b\[[0-9;]*[mKA]|\x1b\[\?25[lh]|\r?\n|\r")  # Rich's own
    plain = ours.sub("", shown)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202e]", plain), plain
    assert "\x1b]0" not in shown and "\x1b[2J" not in shown and "\x1b[H" not in shown
    if not terminal:
        assert "␛]0;owned␇" in plain and "[red]not markup[/red]" in plain
        assert "\x1b" not in shown and "\r" not in shown and shown.endswith("\nAnswer\n")


def test_a_long_thought_goes_up_line_by_line():
    shown = screen(["word "] * 40, force_terminal=True, color_system=None)
    final = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    lines = re.split(r"[\r\n]+", final)
    assert max(map(len, lines)) <= 20 and lines.count("word word word word ") >= 10


def test_bars():
    assert bars([], 10) == "" and bars([0.0, 0.0], 10) == "▁▁"
    assert bars([0.0, 1.0, 0.5], 10) == f"▁█{BARS[4]}"
    assert bars([0, 9, 0, 0, 0, 3], 3) == f"█▁{BARS[2]}", "a bar is the largest of its steps"
    assert bars([5.0], 10, most=2.0) == "█"
    assert len(bars([1.0] * 1000, 70)) == 70


def test_less_weight_looks_different():
    looks = [style(w) for w in (1.0, 0.9, 0.7, 0.5, 0.1)]
    assert len(set(looks)) == 5 and style(0.0) == looks[-1]


def test_names_are_dim_and_newlines_break():
    text = written("a\n\x1bb", "green")
    assert text.plain == "a⏎\n␛b"
    assert {(s.start, s.end, s.style) for s in text.spans} == {
        (0, 1, "green"),
        (1, 4, "dim"),
        (4, 5, "green"),
    }
