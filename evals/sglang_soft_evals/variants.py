r"""Answer variants with a known verdict, to try graders on (`agreement`).

Every variant is the gold answer in another form (`equal`), or a near miss. The values are
generated, so the variants are the same on every run. Lists of variants are written as one text,
with ` ; ` between two of them.
"""

from collections.abc import Iterator
from typing import NamedTuple


class Variant(NamedTuple):
    kind: str
    gold: str
    text: str
    r"""What stands inside `\boxed{}`."""
    equal: bool


def _forms(kind: str, gold: str, equal: str, different: str) -> Iterator[Variant]:
    for texts, is_equal in ((equal, True), (different, False)):
        for text in texts.split(" ; "):
            yield Variant(kind, gold, text, is_equal)


def generate() -> list[Variant]:
    """All variants, class by class."""
    return [
        variant for kind in (_numbers, _fractions, _symbols, _collections) for variant in kind()
    ]


def _numbers() -> Iterator[Variant]:
    for n in (7, 42, 204, 902):
        equal = rf"{n} ; {n}.0 ; 0{n} ; +{n} ; {n}. ; {{{n}}} ; \text{{{n}}} ; \mathbf{{{n}}}"
        different = rf"{n + 1} ; -{n} ; {n}0 ; {n}.5 ; \frac{{{n}}}{{2}}"
        yield from _forms("integer", f"{n}", equal, different)
    for n in (1234, 57500, 70000, 1048576):
        equal = " ; ".join(f"{n:,}".replace(",", comma) for comma in (",", "{,}", r"\,", r",\!"))
        different = f"{n + 1:,} ; {n // 1000} ; {n / 1000:.3f}"
        yield from _forms("thousands", f"{n}", equal, different)
    for text in ("0.5", "2.75", "13.2"):
        short = text.removeprefix("0") if text < "1" else text
        equal = rf"{text} ; {text}0 ; {text}00 ; \text{{{text}}} ; {short}"
        different = f"{text}1 ; 1{text} ; {text.replace('.', '')}"
        yield from _forms("decimal", text, equal, different)
    for gold, digits in (
        (r"\frac{1}{3}", "0.333333333333333"),
        (r"\sqrt{2}", "1.41421356237310"),
        (r"\pi", "3.14159265358979"),
    ):
        different = " ; ".join(digits[: 2 + n] for n in (1, 2, 3, 4, 6, 10))
        yield from _forms("rounded", gold, gold, different)
    for n, equal in (
        (1024, r"2^{10} ; 2^{10}=1024 ; 4^5 ; 1.024\times10^3 ; 1.024 \cdot 10^{3}"),
        (1500, r"1.5\times10^3 ; 1.5\times 10^{3} ; 15\cdot 10^2 ; 1500.00"),
    ):
        different = rf"10^{{{n}}} ; 2^{{11}} ; 1.5\times10^4 ; 1.024\times10^2"
        yield from _forms("power", f"{n}", equal, different)
    for n in (5, 18, 144):
        equal = (
            rf"{n}\text{{ cm}} ; {n} \mathrm{{cm}} ; {n}\text{{ dollars}} ; \${n} ; {n}^\circ ; "
            rf"{n}\% ; {n}\text{{ square units}} ; {n} cm ; {n}\,\text{{cm}}^2 ; {n}\text{{ hours}}"
        )
        different = rf"{n + 1}\text{{ cm}} ; \${n}0 ; {n - 1}^\circ"
        yield from _forms("unit", f"{n}", equal, different)


def _fractions() -> Iterator[Variant]:
    for a, b in ((3, 4), (1, 8), (7, 5), (9, 2)):
        gold = rf"\frac{{{a}}}{{{b}}}"
        equal = (
            rf"{gold} ; \dfrac{{{a}}}{{{b}}} ; \tfrac{{{a}}}{{{b}}} ; \frac{a}{b} ; {a}/{b} ; "
            rf"{a / b} ; \frac{{{2 * a}}}{{{2 * b}}} ; \frac{{-{a}}}{{-{b}}}"
        )
        different = rf"\frac{{{b}}}{{{a}}} ; {a / b + 0.1:.3f} ; -{a}/{b}"
        yield from _forms("fraction", gold, equal, different)
    for a, b in ((1, 2), (5, 3), (2, 7)):
        gold = rf"-\frac{{{a}}}{{{b}}}"
        equal = rf"{gold} ; \frac{{-{a}}}{{{b}}} ; \frac{{{a}}}{{-{b}}} ; -{a}/{b}"
        different = rf"\frac{{{a}}}{{{b}}} ; -\frac{{{b}}}{{{a}}} ; -{a}"
        yield from _forms("negative", gold, equal, different)
    for whole, a, b in ((1, 1, 2), (3, 2, 5), (2, 3, 4)):
        top = whole * b + a
        equal = rf"{whole}\frac{{{a}}}{{{b}}} ; {whole} \frac{{{a}}}{{{b}}} ; {top / b}"
        different = rf"\frac{{{whole * a}}}{{{b}}} ; {whole}"
        yield from _forms("mixed number", rf"\frac{{{top}}}{{{b}}}", equal, different)


def _symbols() -> Iterator[Variant]:
    for a, b in ((2, 3), (3, 5), (5, 2)):
        equal = (
            rf"{a}\sqrt{{{b}}} ; {a}\sqrt {b} ; \sqrt{{{a * a * b}}} ; \sqrt{{{b}}}\cdot {a} ; "
            rf"{a}\cdot\sqrt{{{b}}} ; {a} * {b}^{{1/2}} ; {a}\sqrt{b}"
        )
        different = rf"{a + 1}\sqrt{{{b}}} ; \sqrt{{{a * b}}} ; {a * b}"
        yield from _forms("root", rf"{a}\sqrt{{{b}}}", equal, different)
    for a, b in ((1, 2), (3, 4), (5, 6)):
        gold = rf"\frac{{{a}\pi}}{{{b}}}"
        equal = rf"{gold} ; \frac{{{a}}}{{{b}}}\pi ; {a}\pi/{b} ; {a} \pi / {b}"
        different = rf"\frac{{{a}}}{{{b}}} ; \frac{{{b}\pi}}{{{a}}}"
        yield from _forms("multiple of pi", gold, equal, different)
    for a in (1, 2, 5):
        gold = f"x^2+{2 * a}x+{a * a}"
        equal = (
            f"{gold} ; (x+{a})^2 ; {a * a}+{2 * a}x+x^2 ; x^{{2}} + {2 * a} x + {a * a} ; "
            f"(x+{a})(x+{a})"
        )
        different = f"x^2+{2 * a}x-{a * a} ; (x-{a})^2 ; y^2+{2 * a}y+{a * a}"
        yield from _forms("polynomial", gold, equal, different)
    for n in (5, 12, -3):
        equal = rf"x={n} ; x = {n} ; n={n} ; \angle A = {n}"
        yield from _forms("equation", f"{n}", equal, f"x={n + 1}")
    for letter, other in (("A", "B"), ("C", "D"), ("E", "A")):
        equal = (
            rf"{letter} ; \text{{{letter}}} ; \textbf{{({letter})}} ; ({letter}) ; "
            rf"\text{{({letter}) }}"
        )
        yield from _forms("letter", letter, equal, rf"{other} ; \text{{{other}}} ; ({other})")


def _collections() -> Iterator[Variant]:
    for a, b in ((0, 1), (-2, 7), (3, 11)):
        gold = f"[{a},{b})"
        equal = (
            rf"{gold} ; [{a}, {b}) ; \left[{a},{b}\right) ; \left[{a}, {b}\right) ; [{a}.0,{b}.0)"
        )
        different = f"({a},{b}) ; [{a},{b}] ; ({a},{b}] ; [{a},{b + 1}) ; [{b},{a})"
        yield from _forms("half-open interval", gold, equal, different)
    for a in (0, 3, 5):
        gold = rf"(-\infty,{a})\cup({a + 4},\infty)"
        equal = (
            rf"{gold} ; \left(-\infty, {a}\right) \cup \left({a + 4}, \infty\right) ; "
            rf"({a + 4},\infty)\cup(-\infty,{a}) ; (-\infty,{a})\cup({a + 4},+\infty)"
        )
        different = rf"(-\infty,{a}]\cup({a + 4},\infty) ; ({a},{a + 4})"
        yield from _forms("union of intervals", gold, equal, different)
    for a, b in ((1, 2), (-3, 5), (4, 9)):
        equal = rf"({a},{b}) ; ({a}, {b}) ; \left({a},{b}\right) ; \left( {a}, {b} \right)"
        different = f"({b},{a}) ; ({a},{b + 1}) ; ({a},{b},0)"
        yield from _forms("ordered pair", f"({a},{b})", equal, different)
        equal = rf"\{{{a},{b}\}} ; \{{{b},{a}\}} ; \left\{{{a}, {b}\right\}}"
        different = rf"\{{{a}\}} ; \{{{a},{b + 1}\}} ; \{{{a},{b},0\}}"
        yield from _forms("set", rf"\{{{a},{b}\}}", equal, different)
    for a, b in ((1, 2), (3, 7), (-1, 4)):
        equal = rf"{a},{b} ; {a}, {b} ; {b},{a} ; {a}\text{{ and }}{b} ; {a} \text{{ or }} {b}"
        different = f"{a} ; {b} ; {a},{b + 1} ; {a},{b},{b + 5}"
        yield from _forms("list of values", f"{a},{b}", equal, different)
