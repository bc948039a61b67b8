"""Problems and the texts that teach them: two-digit products, sums, and short drills.

A text is a question, a chain of thought and an answer. The first thinking token names a way of
working, drawn at random, so the first step of a trained model is truly multi-modal. The working
part has wording noise (`=` or ` is `, `, ` or `; `), which keeps its entropy up. The checks repeat
it in one fixed wording, which gives the low-entropy run on which Cold Stop can save.
"""

import random
from dataclasses import dataclass

PRODUCT_WAYS = {"Right": 0.5, "Left": 0.3, "Ones": 0.2}
SUM_WAYS = {"Left": 0.5, "Right": 0.3, "Tens": 0.2}
TWO_CHECKS = 0.5
"""Probability that a text checks its working twice; otherwise it does so once."""

OTHER_QUESTIONS = ("{}", "Compute {}.", "Calculate {}.", "{}=?", "{} = ?", "How much is {}?")
SPLITS = ("test", "test", "tune") + ("train",) * 17


@dataclass(frozen=True, slots=True)
class Problem:
    """`terms` joined by `operator` ("*" takes exactly two terms)."""

    operator: str
    terms: tuple[int, ...]

    @property
    def expression(self) -> str:
        return self.operator.join(map(str, self.terms))

    @property
    def answer(self) -> int:
        return self.terms[0] * self.terms[1] if self.operator == "*" else sum(self.terms)

    @property
    def is_drill(self) -> bool:
        """Whether this is one step of a longer working: not all terms have two digits."""
        return not all(10 <= term <= 99 for term in self.terms)

    @property
    def split(self) -> str:
        """Name of the split. All orders of the same terms share one; drills are always "train"."""
        if self.is_drill:
            return "train"
        terms = sorted(self.terms)
        if self.operator == "*" and terms == [34, 43]:
            return "test"  # the documentation's example: never trained
        mixed = len(terms)
        for term in terms:
            mixed = (mixed * 6364136223846793005 + term * 1442695040888963407 + 1) % 2**64
            mixed ^= mixed >> 29
        return SPLITS[mixed % len(SPLITS)]


def draw_problem(rng: random.Random, kind: str, split: str = "train") -> Problem:
    """A random problem of `kind` ("product", "sum" or "drill") that belongs to `split`."""
    while True:
        if kind == "product":
            problem = Problem("*", (rng.randint(10, 99), rng.randint(10, 99)))
        elif kind == "sum":
            problem = Problem(
                "+", tuple(rng.randint(10, 99) for _ in range(2 if rng.random() < 0.25 else 3))
            )
        else:
            problem = _draw_drill(rng)
        # A product with a multiple of ten is also a working step of other problems, so it is no
        # fair test.
        fair = kind != "product" or split == "train" or all(term % 10 for term in problem.terms)
        if fair and problem.split == split:
            return problem


def _draw_drill(rng: random.Random) -> Problem:
    """One step as it occurs in a working: a table product, or a sum like that of two partial
    products."""
    kind = rng.random()
    first = rng.randint(10, 99)
    if kind < 0.35:
        return Problem("*", (first, rng.randint(0, 9)))
    if kind < 0.55:
        return Problem("*", (first, rng.randint(1, 9) * 10))
    high, low = 10 * rng.randint(10, 891), rng.randint(0, 891)
    if kind < 0.9:
        return Problem("+", (high, low) if rng.random() < 0.8 else (low, high))
    return Problem("+", (first, rng.randint(0, 198)))


def working_steps(problem: Problem, way: str) -> list[tuple[str, int]]:
    """The working as (expression, value) pairs; the last value is the answer."""
    terms = problem.terms
    if problem.is_drill:
        expressions = [problem.expression]
    elif problem.operator == "*":
        kept, split = reversed(terms) if way == "Left" else terms
        tens, ones = f"{kept}*{split // 10 * 10}", f"{kept}*{split % 10}"
        parts = [ones, tens] if way == "Ones" else [tens, ones]
        expressions = [*parts, "+".join(str(_value(part)) for part in parts)]
    elif way == "Tens":
        tens, ones = ([term // 10 * 10 for term in terms], [term % 10 for term in terms])
        expressions = [
            "+".join(map(str, tens)),
            "+".join(map(str, ones)),
            f"{sum(tens)}+{sum(ones)}",
        ]
    elif way == "Right":
        expressions, total = [], terms[-1]
        for term in reversed(terms[:-1]):
            expressions.append(f"{term}+{total}")
            total += term
    else:
        expressions, total = [], terms[0]
        for term in terms[1:]:
            expressions.append(f"{total}+{term}")
            total += term
    return [(expression, _value(expression)) for expression in expressions]


def _value(expression: str) -> int:
    if "*" in expression:
        first, second = expression.split("*")
        return int(first) * int(second)
    return sum(map(int, expression.split("+")))


def draw_thinking(rng: random.Random, problem: Problem) -> tuple[str, str]:
    """(working, checks): what stands between `<think>\\n` and `</think>`, in two parts."""
    ways = PRODUCT_WAYS if problem.operator == "*" else SUM_WAYS
    way = "Direct" if problem.is_drill else rng.choices(list(ways), list(ways.values()))[0]
    steps = working_steps(problem, way)
    working = f"{way}: "
    for index, (expression, value) in enumerate(steps):
        separator = "" if index == 0 else rng.choice((", ", "; "))
        working += f"{separator}{expression}{rng.choice(('=', ' is '))}{value}"
    check = "\nCheck: " + ", ".join(f"{expression}={value}" for expression, value in steps)
    if problem.is_drill:
        return working, ""
    return working, check * (2 if rng.random() < TWO_CHECKS else 1)


def draw_question(rng: random.Random, problem: Problem) -> str:
    """The problem as a user may put it."""
    expression = problem.expression
    if rng.random() < 0.15:
        expression = expression.replace(problem.operator, f" {problem.operator} ")
    if rng.random() < 0.6:
        return f"What is {expression}?"
    return rng.choice(OTHER_QUESTIONS).format(expression)
