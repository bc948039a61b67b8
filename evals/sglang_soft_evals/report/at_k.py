"""pass@k and majority@k of every method."""

from sglang_soft_evals.record import Record
from sglang_soft_evals.report.comparisons import answered
from sglang_soft_evals.report.document import Cell, Table
from sglang_soft_evals.report.numbers import percent
from sglang_soft_evals.rundir import Run
from sglang_soft_evals.statistics import majority_at_k, pass_at_k

_NOTES = {
    "pass": "The chance that at least one of k answers is right (unbiased estimator).",
    "majority": "The chance that the most frequent of k extracted answers is right, over all "
    "choices of k samples; ties are drawn fairly, an answer that could not be extracted does not "
    "vote.",
}
_REFUSED = "Not given if a question has fewer samples."


def at_k(run: Run, benchmark: str, name: str) -> Table | None:
    """`pass`@k or `majority`@k for k = 1, 2, 4, ... up to the most samples of any method.

    None if no question has two samples. A method of which every request failed is left out, and one
    whose answers share thoughts: they are no independent samples (`forks`).
    """
    groups = {
        method: list(questions.values())
        for method in run.methods
        if answered(questions := run.of(benchmark, method)) and run.answers_per_thought[method] == 1
    }
    most = max((len(group) for questions in groups.values() for group in questions), default=0)
    if most < 2:
        return None
    ks = [2**i for i in range(most.bit_length())]
    ks += [most] * (most not in ks)
    if name == "majority":
        del ks[0]  # the same as pass@1
    rows: list[dict[str, Cell]] = []
    for method, group in groups.items():
        chances = {f"{name}@{k}, %": _chance(name, group, k) for k in ks}
        rows.append({"method": method, **chances})
    return Table(rows, f"{_NOTES[name]} {_REFUSED}")


def _chance(name: str, questions: list[list[Record]], k: int) -> str:
    if min(len(group) for group in questions) < k:
        return "under-sampled"
    if name == "pass":
        right = [sum(r.correct for r in group) for group in questions]
        return percent(pass_at_k(right, [len(group) for group in questions], k))
    votes = [[(r.answer, r.correct) for r in group] for group in questions]
    return percent(majority_at_k(votes, k))
