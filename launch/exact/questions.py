"""Questions for measurements on a pretrained model: many, distinct, of several kinds."""

import itertools
import random

KINDS = (
    ("What is {}*{}?", range(11, 99), range(3, 40)),
    ("Is {} a prime number? Explain.", range(51, 400), ("",)),
    ("Name three rivers in {}.", ("France", "Egypt", "Brazil", "India", "Canada", "Spain"), ("",)),
    ("A train goes {} km/h. How long does it need for {} km?", range(40, 120, 7), range(90, 500)),
    ("Why is the {} {}?", ("sky", "sea", "sun", "moon"), ("blue", "so bright", "sometimes red")),
    ("Anna has {} apples and gives away {}. What is left?", range(20, 90), range(2, 19)),
    ("Write a sentence with the words {} and {}.", ("tree", "ship"), ("paper", "glass", "snow")),
)


def questions(count: int, seed: int = 0) -> list[str]:
    """The first `count` of a fixed order; every kind gives as many as it has."""
    draw = random.Random(seed)
    found: list[list[str]] = []
    for text, *choices in KINDS:
        pairs = draw.sample(list(itertools.product(*choices)), k=min(200, _size(choices)))
        found.append([text.format(*pair) for pair in pairs])
    turns = (q for turn in itertools.zip_longest(*found) for q in turn if q is not None)
    return list(itertools.islice(turns, count))


def _size(choices: list) -> int:
    first, second = choices
    return len(first) * len(second)
