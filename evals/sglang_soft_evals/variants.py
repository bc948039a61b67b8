"""Answer variants with a known verdict, for graders to be tried on (`agreement`).

Every variant is the gold answer in another form (`equal`) or a near miss. Classes and values are
generated, so the table is the same on every run with the same versions.
"""

from collections.abc import Iterator
from typing import NamedTuple


class Variant(NamedTuple):
    kind: str
    gold: str
    text: str
    r"""What stands inside `\boxed{}`."""
    equal: bool


def _forms(kind: str, gold: str, equal: list[str], different: list[str]) -> Iterator[Variant]:
    for text in equal:
        yield Variant(kind, gold, text, True)
    for text in different:
        yield Variant(kind, gold, text, False)


def generate() -> list[Variant]:
    """All variants, class by class."""
    return [variant for kind in _KINDS for variant in kind()]


def _integers() -> Iterator[Variant]:
    for n in (7, 42, 204, 902):
        equal = [
            f"{n}",
            f"{n}.0",
            f"0{n}",
            f"+{n}",
            f"{n}.",
            f"{{{n}}}",
            f"\\text{{{n}}}",
            f"\\mathbf{{{n}}}",
        ]
        yield from _forms(
            "integer",
            f"{n}",
            equal,
            [f"{n + 1}", f"-{n}", f"{n}0", f"{n}.5", f"\\frac{{{n}}}{{2}}"],
        )


def _thousands() -> Iterator[Variant]:
    for n in (1234, 57500, 70000, 1048576):
        equal = [
            f"{n:,}",
            f"{n:,}".replace(",", "{,}"),
            f"{n:,}".replace(",", "\\,"),
            f"{n:,}".replace(",", ",\\!"),
        ]
        yield from _forms(
            "thousands", f"{n}", equal, [f"{n + 1:,}", f"{n // 1000}", f"{n / 1000:.3f}"]
        )


def _fractions() -> Iterator[Variant]:
    for a, b in ((3, 4), (1, 8), (7, 5), (9, 2)):
        equal = [
            f"\\frac{{{a}}}{{{b}}}",
            f"\\dfrac{{{a}}}{{{b}}}",
            f"\\tfrac{{{a}}}{{{b}}}",
            f"\\frac{a}{b}",
        ]
        equal += [
            f"{a}/{b}",
            f"{a / b}",
            f"\\frac{{{2 * a}}}{{{2 * b}}}",
            f"\\frac{{-{a}}}{{-{b}}}",
        ]
        yield from _forms(
            "fraction",
            f"\\frac{{{a}}}{{{b}}}",
            equal,
            [f"\\frac{{{b}}}{{{a}}}", f"{a / b + 0.1:.3f}", f"-{a}/{b}"],
        )


def _negatives() -> Iterator[Variant]:
    for a, b in ((1, 2), (5, 3), (2, 7)):
        equal = [
            f"-\\frac{{{a}}}{{{b}}}",
            f"\\frac{{-{a}}}{{{b}}}",
            f"\\frac{{{a}}}{{-{b}}}",
            f"-{a}/{b}",
        ]
        yield from _forms(
            "negative",
            f"-\\frac{{{a}}}{{{b}}}",
            equal,
            [f"\\frac{{{a}}}{{{b}}}", f"-\\frac{{{b}}}{{{a}}}", f"-{a}"],
        )


def _mixed() -> Iterator[Variant]:
    for whole, a, b in ((1, 1, 2), (3, 2, 5), (2, 3, 4)):
        top = whole * b + a
        equal = [f"{whole}\\frac{{{a}}}{{{b}}}", f"{whole} \\frac{{{a}}}{{{b}}}", f"{top / b}"]
        yield from _forms(
            "mixed number",
            f"\\frac{{{top}}}{{{b}}}",
            equal,
            [f"\\frac{{{whole * a}}}{{{b}}}", f"{whole}"],
        )


def _roots() -> Iterator[Variant]:
    for a, b in ((2, 3), (3, 5), (5, 2)):
        equal = [
            f"{a}\\sqrt{{{b}}}",
            f"{a}\\sqrt {b}",
            f"\\sqrt{{{a * a * b}}}",
            f"\\sqrt{{{b}}}\\cdot {a}",
        ]
        equal += [f"{a}\\cdot\\sqrt{{{b}}}", f"{a} * {b}^{{1/2}}", f"{a}\\sqrt{b}"]
        yield from _forms(
            "root",
            f"{a}\\sqrt{{{b}}}",
            equal,
            [f"{a + 1}\\sqrt{{{b}}}", f"\\sqrt{{{a * b}}}", f"{a * b}"],
        )


def _pi() -> Iterator[Variant]:
    for a, b in ((1, 2), (3, 4), (5, 6)):
        equal = [
            f"\\frac{{{a}\\pi}}{{{b}}}",
            f"\\frac{{{a}}}{{{b}}}\\pi",
            f"{a}\\pi/{b}",
            f"{a} \\pi / {b}",
        ]
        yield from _forms(
            "multiple of pi",
            f"\\frac{{{a}\\pi}}{{{b}}}",
            equal,
            [f"\\frac{{{a}}}{{{b}}}", f"\\frac{{{b}\\pi}}{{{a}}}"],
        )


def _units() -> Iterator[Variant]:
    for n in (5, 18, 144):
        equal = [
            f"{n}\\text{{ cm}}",
            f"{n} \\mathrm{{cm}}",
            f"{n}\\text{{ dollars}}",
            f"\\${n}",
            f"{n}^\\circ",
        ]
        equal += [
            f"{n}\\%",
            f"{n}\\text{{ square units}}",
            f"{n} cm",
            f"{n}\\,\\text{{cm}}^2",
            f"{n}\\text{{ hours}}",
        ]
        yield from _forms(
            "unit", f"{n}", equal, [f"{n + 1}\\text{{ cm}}", f"\\${n}0", f"{n - 1}^\\circ"]
        )


def _intervals() -> Iterator[Variant]:
    for a, b in ((0, 1), (-2, 7), (3, 11)):
        equal = [
            f"[{a},{b})",
            f"[{a}, {b})",
            f"\\left[{a},{b}\\right)",
            f"\\left[{a}, {b}\\right)",
            f"[{a}.0,{b}.0)",
        ]
        different = [f"({a},{b})", f"[{a},{b}]", f"({a},{b}]", f"[{a},{b + 1})", f"[{b},{a})"]
        yield from _forms("half-open interval", f"[{a},{b})", equal, different)


def _unions() -> Iterator[Variant]:
    for a in (0, 3, 5):
        gold = f"(-\\infty,{a})\\cup({a + 4},\\infty)"
        equal = [gold, f"\\left(-\\infty, {a}\\right) \\cup \\left({a + 4}, \\infty\\right)",
                 f"({a + 4},\\infty)\\cup(-\\infty,{a})", f"(-\\infty,{a})\\cup({a + 4},+\\infty)"]  # fmt: skip
        different = [f"(-\\infty,{a}]\\cup({a + 4},\\infty)", f"({a},{a + 4})"]
        yield from _forms("union of intervals", gold, equal, different)


def _tuples() -> Iterator[Variant]:
    for a, b in ((1, 2), (-3, 5), (4, 9)):
        equal = [
            f"({a},{b})",
            f"({a}, {b})",
            f"\\left({a},{b}\\right)",
            f"\\left( {a}, {b} \\right)",
        ]
        yield from _forms(
            "ordered pair", f"({a},{b})", equal, [f"({b},{a})", f"({a},{b + 1})", f"({a},{b},0)"]
        )


def _sets() -> Iterator[Variant]:
    for a, b in ((1, 2), (-3, 5), (4, 9)):
        gold = f"\\{{{a},{b}\\}}"
        equal = [gold, f"\\{{{b},{a}\\}}", f"\\left\\{{{a}, {b}\\right\\}}"]
        yield from _forms(
            "set", gold, equal, [f"\\{{{a}\\}}", f"\\{{{a},{b + 1}\\}}", f"\\{{{a},{b},0\\}}"]
        )


def _expressions() -> Iterator[Variant]:
    for a in (1, 2, 5):
        gold = f"x^2+{2 * a}x+{a * a}"
        equal = [
            gold,
            f"(x+{a})^2",
            f"{a * a}+{2 * a}x+x^2",
            f"x^{{2}} + {2 * a} x + {a * a}",
            f"(x+{a})(x+{a})",
        ]
        yield from _forms(
            "polynomial",
            gold,
            equal,
            [f"x^2+{2 * a}x-{a * a}", f"(x-{a})^2", f"y^2+{2 * a}y+{a * a}"],
        )


def _powers() -> Iterator[Variant]:
    for n, forms in ((1024, ["2^{10}", "2^{10}=1024", "4^5", "1.024\\times10^3", "1.024 \\cdot 10^{3}"]),
                     (1500, ["1.5\\times10^3", "1.5\\times 10^{3}", "15\\cdot 10^2", "1500.00"])):  # fmt: skip
        yield from _forms(
            "power", f"{n}", forms, [f"10^{{{n}}}", "2^{11}", "1.5\\times10^4", "1.024\\times10^2"]
        )


def _equations() -> Iterator[Variant]:
    for n in (5, 12, -3):
        yield from _forms(
            "equation", f"{n}", [f"x={n}", f"x = {n}", f"n={n}", f"\\angle A = {n}"], [f"x={n + 1}"]
        )


def _several() -> Iterator[Variant]:
    for a, b in ((1, 2), (3, 7), (-1, 4)):
        equal = [
            f"{a},{b}",
            f"{a}, {b}",
            f"{b},{a}",
            f"{a}\\text{{ and }}{b}",
            f"{a} \\text{{ or }} {b}",
        ]
        yield from _forms(
            "list of values",
            f"{a},{b}",
            equal,
            [f"{a}", f"{b}", f"{a},{b + 1}", f"{a},{b},{b + 5}"],
        )


def _decimals() -> Iterator[Variant]:
    for text in ("0.5", "2.75", "13.2"):
        equal = [
            text,
            f"{text}0",
            f"{text}00",
            f"\\text{{{text}}}",
            text.removeprefix("0") if text < "1" else text,
        ]
        yield from _forms("decimal", text, equal, [f"{text}1", f"1{text}", text.replace(".", "")])


def _rounded() -> Iterator[Variant]:
    values = {
        "\\frac{1}{3}": "0.333333333333333",
        "\\sqrt{2}": "1.41421356237310",
        "\\pi": "3.14159265358979",
    }
    for gold, digits in values.items():
        yield from _forms("rounded", gold, [gold], [digits[: 2 + n] for n in (1, 2, 3, 4, 6, 10)])


def _letters() -> Iterator[Variant]:
    for letter, other in (("A", "B"), ("C", "D"), ("E", "A")):
        equal = [
            letter,
            f"\\text{{{letter}}}",
            f"\\textbf{{({letter})}}",
            f"({letter})",
            f"\\text{{({letter}) }}",
        ]
        yield from _forms("letter", letter, equal, [other, f"\\text{{{other}}}", f"({other})"])


_KINDS = (_integers, _thousands, _fractions, _negatives, _mixed, _roots, _pi, _units, _intervals, _unions, _tuples,
          _sets, _expressions, _powers, _equations, _several, _decimals, _rounded, _letters)  # fmt: skip
