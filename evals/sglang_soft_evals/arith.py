"""`arith`: products and sums of two-digit numbers that the toy model never saw in training.

The rule for held-out problems is the one of the training code (`launch/`), which is not installed
with the package. A test checks that the two are equal.
"""

import random
from typing import NamedTuple

_SPLITS = ("test", "test", "tune") + ("train",) * 17


class Problem(NamedTuple):
    operator: str
    """`*` or `+`."""
    terms: tuple[int, ...]
    """Numbers in [10, 99]: two factors, or two or three summands."""

    @property
    def expression(self) -> str:
        return self.operator.join(map(str, self.terms))

    @property
    def answer(self) -> int:
        return self.terms[0] * self.terms[1] if self.operator == "*" else sum(self.terms)

    @property
    def held_out(self) -> bool:
        """Whether the problem belongs to the test split, in any order of its terms."""
        terms = sorted(self.terms)
        if self.operator == "*" and terms == [34, 43]:
            return True
        mixed = len(terms)
        for term in terms:
            mixed = (mixed * 6364136223846793005 + term * 1442695040888963407 + 1) % 2**64
            mixed ^= mixed >> 29
        return _SPLITS[mixed % len(_SPLITS)] == "test"


LARGEST = 1000
"""There are about 650 products to draw from, and half of the problems are products."""


def draw(count: int, seed: int) -> list[Problem]:
    """`count` different held-out problems, products and sums in turn; the same for the same seed.

    Raises:
        ValueError: `count` is outside [1, LARGEST].
    """
    if not 1 <= count <= LARGEST:
        raise ValueError(f"questions must be in [1, {LARGEST}] for arith; got {count}.")
    rng = random.Random(seed)
    problems: dict[str, Problem] = {}
    while len(problems) < count:
        if len(problems) % 2 == 0:
            problem = Problem("*", (rng.randint(10, 99), rng.randint(10, 99)))
            # Products with a multiple of ten are steps of other solutions, and trained as such.
            fair = all(term % 10 for term in problem.terms)
        else:
            count_of_terms = 2 if rng.random() < 0.25 else 3
            terms = tuple(rng.randint(10, 99) for _ in range(count_of_terms))
            problem, fair = Problem("+", terms), True
        if fair and problem.held_out:
            problems.setdefault(problem.expression, problem)
    return list(problems.values())
