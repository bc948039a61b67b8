"""Statistics of evals in which every question is answered several times. Pure functions on arrays.

Q: questions, n: samples of one question. The question is the unit of analysis throughout: samples
of one question are not independent of each other, so errors, intervals and tests are taken over
questions ("clustered"; Miller 2024, "Adding Error Bars to Evals", arXiv 2411.00640).

`accuracy`  pass@1, pass@k, majority@k of one method
`paired`    the difference of two methods on the questions that both have answered
`ranking`   how well a number tells wrong answers from right ones
`power`     how many questions a difference needs, and what a run of this size could have seen
"""

from sglang_soft_evals.statistics.accuracy import (
    Estimate,
    fraction,
    majority_at_k,
    mean_estimate,
    pass_at_1,
    pass_at_k,
)
from sglang_soft_evals.statistics.forks import majority_of_forks
from sglang_soft_evals.statistics.paired import (
    Matched,
    SignFlip,
    bootstrap_interval,
    holm,
    match_questions,
    sign_flip_test,
)
from sglang_soft_evals.statistics.power import paired_power, questions_needed, smallest_gain
from sglang_soft_evals.statistics.ranking import auc, auc_within

__all__ = [
    "Estimate",
    "Matched",
    "SignFlip",
    "auc",
    "auc_within",
    "bootstrap_interval",
    "fraction",
    "holm",
    "majority_at_k",
    "majority_of_forks",
    "match_questions",
    "mean_estimate",
    "paired_power",
    "pass_at_1",
    "pass_at_k",
    "questions_needed",
    "sign_flip_test",
    "smallest_gain",
]
