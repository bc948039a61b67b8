r"""The number that a text gives as its answer, in the spellings that models use.

`1,462`, `1462.0`, `$1462$`, `\boxed{1{,}462}`, `**1462**`, `\frac{2924}{2}`, `−5`, `1.462 × 10^3`.
Standard library only: the lm-eval task in `evals/clients` reads this file as well.
"""

import re
from decimal import Decimal
from fractions import Fraction

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


_ANSWER = re.compile(r"\banswer\b[^\w\n-]{0,9}(?:is|equals)?[^\w-]{0,9}(?=-?\.?\d)", re.IGNORECASE)
_OPERATOR = re.compile(r"[ \t]*[-+*/^=<>×÷]")


def stated(text: str) -> Fraction | None:
    r"""The number that a text gives as its answer; None if there is none.

    That of the last `\boxed{...}`, else the one after the last "answer is", "answer:" or
    "answer =" (of a calculation there: its result), else the last one. Exponents and digits of a
    unit (cm^2, m3) are not numbers.
    """
    box = text.rfind("\\boxed")
    if box >= 0 and (boxed := _last(_plain(text[box : _closing(text, box)]))) is not None:
        return boxed
    text = _plain(text)
    answer = 0
    for match in _ANSWER.finditer(text):
        answer = match.end()
    if answer and (number := _NUMBER.match(text, answer)):
        if not _OPERATOR.match(text, number.end()) and (value := _read(number)) is not None:
            return value
        text = text[answer:]
    return _last(text)


def written(value: Fraction) -> str:
    """A number in one spelling: `1462`, `0.5`, `1/3`."""
    rest = value.denominator
    for factor in (2, 5):
        while rest % factor == 0:
            rest //= factor
    if value.denominator == 1 or rest != 1:
        return str(value)
    return f"{Decimal(value.numerator) / Decimal(value.denominator):f}"


def _closing(text: str, start: int) -> int:
    """Where the first group of braces after `start` ends; the end of the text if it does not."""
    depth = 0
    for place in range(start, len(text)):
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0 and text[place] == "}":
            return place
    return len(text)


def _plain(text: str) -> str:
    for pattern, replacement in _REPLACED:
        text = pattern.sub(replacement, text)
    return text


def _last(text: str) -> Fraction | None:
    found = None
    for match in _NUMBER.finditer(text):
        if _is_number(text, match) and (value := _read(match)) is not None:
            found = value
    return found


def _is_number(text: str, match: re.Match[str]) -> bool:
    """A single digit after a letter belongs to a unit or a name (cm2, H2O)."""
    start = match.start("top")
    single = len(match["top"]) == 1
    return not (single and start and text[start - 1].isalpha())


def _read(match: re.Match[str]) -> Fraction | None:
    top, bottom = match["top"].replace(",", ""), (match["bottom"] or "1").replace(",", "")
    if len(top) > LONGEST or len(bottom) > LONGEST or not int(bottom):
        return None
    value = Fraction(top) / int(bottom)
    if power := match["e"] or match["power"]:
        value *= Fraction(10) ** int(power)
    minus = "-" in (match["sign"] or "")
    return -value if minus else value


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
