"""Majority over answers that share thoughts."""

from collections.abc import Sequence

import numpy as np

DRAWS = 200
"""Choices of thoughts and answers that are looked at, for each question."""

Votes = Sequence[Sequence[tuple[str | None, bool]]]
"""[T][A] pairs (extracted answer, graded correct): the answers of each thought of a question."""


def majority_of_forks(
    questions: Sequence[Votes], thoughts: int, answers: int, *, seed: int = 0
) -> np.ndarray:
    """[Q] chances that the most frequent answer is right, where a question has `thoughts` thoughts
    with `answers` answers each.

    The mean over DRAWS random choices out of the T thoughts of a question and the A answers of each
    (over the one that there is, if that is all of them). Parties and ties as in `majority_at_k`.
    Raises ValueError if a question has too few of them.
    """
    rng = np.random.default_rng(seed)
    return np.array([_chance(_ballots(votes), thoughts, answers, rng) for votes in questions])


def _ballots(votes: Votes) -> np.ndarray:
    """[T, A, P] 0 or 1: the party of each answer. Party 0 is the right answer; an answer that could
    not be extracted has none."""
    sizes = {len(answers) for answers in votes}
    if len(sizes) != 1:
        raise ValueError(f"the thoughts of a question must have as many answers each; got {sizes}")
    wrong = sorted({answer for row in votes for answer, ok in row if answer is not None and not ok})
    party = {answer: place for place, answer in enumerate(wrong, 1)}
    found: np.ndarray = np.zeros((len(votes), *sizes, 1 + len(wrong)), int)
    for t, row in enumerate(votes):
        for a, (answer, ok) in enumerate(row):
            if answer is not None:
                found[t, a, 0 if ok else party[answer]] = 1
    return found


def _chance(ballots: np.ndarray, thoughts: int, answers: int, rng: np.random.Generator) -> float:
    have, each, _ = ballots.shape
    if not (1 <= thoughts <= have and 1 <= answers <= each):
        wanted = f"{thoughts} thoughts with {answers} answers"
        raise ValueError(f"a question has {have} thoughts with {each} answers; asked for {wanted}")
    draws = 1 if (thoughts, answers) == (have, each) else DRAWS
    some = rng.permuted(np.tile(np.arange(have), (draws, 1)), axis=1)[:, :thoughts]
    of_each = rng.permuted(np.tile(np.arange(each), (draws, thoughts, 1)), axis=2)[..., :answers]
    counts = ballots[some[:, :, None], of_each].sum((1, 2))  # [draws, P]
    most = counts.max(1)
    tied = (counts == most[:, None]).sum(1)
    return float(np.where((counts[:, 0] == most) & (most > 0), 1 / tied, 0.0).mean())
