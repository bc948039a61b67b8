r"""The last number that a text states, in the spellings that models use.

`1,462`, `1462.0`, `$1462$`, `\boxed{1{,}462}`, `**1462**`, `\frac{2924}{2}`, `−5`, `1.462 × 10^3`.
Standard library only: the lm-eval task in `evals/clients` reads this file as well.
"""

import re
from fractions import Fraction
from typing import NamedTuple

LONGEST = 200
"""Digits of a number: more are not read, which keeps the time linear."""
_SPACES = "\u00a0\u2000-\u200a\u202f\u205f\u3000"
"""No-break, thin and other typographical spaces."""
_LATEX_SPACE = r"\\[,;:!> ]|\{,\}|\{\\,\}|,\\!|\\thinspace\b ?|~"
_PART = r"(?:\{([^{}]*)\}|(\d))"
_REPLACED = (
    (re.compile("[\u200b-\u200f\u2060\ufeff]"), ""),
    (re.compile("[\u2212\u2010\u2011\u2013\ufe63\uff0d]"), "-"),
    (re.compile("[\u066c\uff0c]"), ","),
    (re.compile("[\u2044\u2215]"), "/"),
    (re.compile(r"\\(?:times|cdot)(?![a-zA-Z])"), "×"),
    (re.compile(r"__|(?<!\d)\*\*|\*\*(?!\d)"), ""),  # bold; 10**3 is a power
    # LaTeX spaces and separators between digits: 1\,462, 1{,}462, 1\;462, 1~462
    (re.compile(rf"(?<=\d)(?:{_LATEX_SPACE})+(?=\d{{3}}(?!\d))"), ","),
    (re.compile(rf"(?<=\d)[{_SPACES}'’_](?=\d{{3}}(?!\d))"), ","),
    (re.compile(r"(?<![\d.,])(\d{1,3}) (?=\d{3}(?: \d{3})*(?![\d.,]*\d))"), r"\1,"),
    (re.compile(rf"[{_SPACES}]"), " "),
    (re.compile(r"(?<=\d)\\[dtc]?frac"), r" \\frac"),
    (re.compile(rf"\\[dtc]?frac ?{_PART} ?{_PART}"), r"\1\2/\3\4 "),
    (re.compile(r"\\(?:text|mathrm|mathbf|textbf|boldsymbol|mathit|operatorname)\s*\{([^{}]*)\}"),
     r" \1 "),
    (re.compile(r"\\[a-zA-Z]+\b\s?"), " "),
    (re.compile(r"(?<!\^)(?<!_)[{}]"), " "),
)  # fmt: skip
_GROUPED = r"\d{1,3}(?:,\d{3})+|\d{1,2}(?:,\d{2})+,\d{3}|\d+"
_PLAIN = rf"(?:{_GROUPED})(?![\d])(?:\.\d+)?|\.\d+"
_NUMBER = re.compile(
    rf"""
    (?:(?P<sign>(?<![\w)\]])[-+]|(?<=[=:(])\ ?-\ |(?<=\bis)\ -\ )\$?|\$\ ?)?
    (?<![\d.^_])(?<![\^_]\{{)(?<![\^_]-)
    (?P<top>{_PLAIN})
    (?:\ ?/\ ?(?P<bottom>(?:{_GROUPED})(?![\d.]))(?!\ ?/))?
    (?:
        [eE](?P<e>[-+]?\d{{1,3}})
        |\ {{0,3}}[×*]\ {{0,3}}10\ ?(?:\^|\*\*)\ ?\{{?(?P<power>-?\d{{1,3}})\}}?
    )?
    """,
    re.VERBOSE,
)


class Stated(NamedTuple):
    value: Fraction
    text: str
    """As it stands in the (simplified) text."""


def last_number(text: str) -> Stated | None:
    r"""The last number in the last `\boxed{...}`, else in the whole text; None if there is none.

    Exponents and digits of a unit (cm^2, m3) are not numbers.
    """
    box = text.rfind("\\boxed")
    if box >= 0 and (boxed := _last(text[box : _closing(text, box)])):
        return boxed
    return _last(text)


def _closing(text: str, start: int) -> int:
    """Where the first group of braces after `start` ends; the end of the text if it does not."""
    depth = 0
    for place in range(start, len(text)):
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0 and text[place] == "}":
            return place
    return len(text)


def _last(text: str) -> Stated | None:
    for pattern, replacement in _REPLACED:
        text = pattern.sub(replacement, text)
    found = None
    for match in _NUMBER.finditer(text):
        if _is_number(text, match):
            found = _read(match) or found
    return found


def _is_number(text: str, match: re.Match[str]) -> bool:
    """A single digit after a letter belongs to a unit or a name (cm2, H2O)."""
    start = match.start("top")
    single = len(match["top"]) == 1
    return not (single and start and text[start - 1].isalpha())


def _read(match: re.Match[str]) -> Stated | None:
    top, bottom = match["top"].replace(",", ""), (match["bottom"] or "1").replace(",", "")
    if len(top) > LONGEST or len(bottom) > LONGEST or not int(bottom):
        return None
    value = Fraction(top) / int(bottom)
    if power := match["e"] or match["power"]:
        value *= Fraction(10) ** int(power)
    minus = "-" in (match["sign"] or "")
    return Stated(-value if minus else value, match[0].strip())


_MARKS = (
    (re.compile("[\u2212\ufe63\uff0d]"), "-"),
    (re.compile(rf"(?<=\d)(?:\\[,;:! ]|\{{\\,\}}|~|[{_SPACES}])+(?=\d{{3}}(?!\d))"), ""),
    (re.compile(r"\\(?:text|textbf|mathbf|mathrm|boldsymbol)\{\s*(-?[\d.,]*\d)\s*\}"), r"\1"),
    (re.compile(r"^\s*\*\*(.*)\*\*\s*$"), r"\1"),
)


def plain_numbers(answer: str) -> str:
    r"""An answer of a mathematics benchmark with its numbers in plain digits: `1\,234`, `−5`,
    `\text{0.5}`. Everything else stays."""
    for pattern, replacement in _MARKS:
        answer = pattern.sub(replacement, answer)
    return answer
