r"""The number that a text gives as its answer, in the spellings that models use.

`1,462`, `1 462` with a thin or no-break space, `1{,}462` and `1\,462` are one number; `1462.0` is
one as well.
A minus may be a hyphen or U+2212; between two operands (`1500-38`) it is none. Of all numbers that
of the last `\boxed{...}` counts, else the one behind the last "answer is", "answer:" or "answer =",
else the last one.
"""

import re
from decimal import Decimal

_MINUS = str.maketrans({"\u2212": "-", "\u2013": "-", "\ufe63": "-", "\uff0d": "-"})
_SEPARATED = re.compile(
    r"(?<![\d.,])(\d{1,3})((?:(?:,|\{,\}|\\[,;!: ]|[\u00a0\u2009\u202f'’_])\d{3})+)(?![\d])"
)
_NUMBER = re.compile(r"(?<![\w.)\]])-?\d+(?:\.\d+)?|(?<![\d.])\d+(?:\.\d+)?")
_BOXED = re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_ANSWER = re.compile(r"(?i)\banswer\b[^\w\n-]{0,9}(?:is|equals)?[^\w-]{0,9}(?=-?\d)")
_SPACED = re.compile(r"(-?\d{1,3}(?: \d{3})+)(?![\d,.]*\d)")
_OPERATOR = re.compile(r"[ \t]*[-+*/^=<>\u00d7\u00f7]|[ \t]*\\(?:cdot|times|div)")


def stated(text: str) -> str | None:
    """The number as digits, with a sign and a fraction where it has them; None: there is none."""
    text = text.translate(_MINUS)
    text = _SEPARATED.sub(lambda found: found[1] + re.sub(r"\D", "", found[2]), text)
    for part in reversed(_BOXED.findall(text)):
        if found := _NUMBER.findall(part):
            return found[-1]
    if answers := list(_ANSWER.finditer(text)):
        at = answers[-1].end()
        if spaced := _SPACED.match(text, at):
            return spaced[0].replace(" ", "")
        match = _NUMBER.match(text, at)
        if match and not _OPERATOR.match(text, match.end()):
            return match[0]
        text = text[at:]  # a calculation: its result comes last
    found = _NUMBER.findall(text)
    return found[-1] if found else None


def equal(answer: str, gold: str) -> bool:
    """As numbers: `1462.0` is 1462. Raises ValueError: thousands of digits, which Python does not
    read."""
    if "." in answer or "." in gold:
        return Decimal(answer) == Decimal(gold)
    return int(answer) == int(gold)
