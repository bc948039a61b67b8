"""Does a grader agree with a data file? It has to call every gold answer right and every perturbed
one wrong.

The gold answers are also compared with those inside sgl-eval, if it has the same questions. Every
disagreement is printed: it is a fault of the grader or of the data.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sglang_soft_evals import benchmarks, graders, loading

SAME_QUESTION = 0.6
"""Share of words (intersection over union) from which two texts are the same question."""
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


class Finding(NamedTuple):
    question: str
    """Its id."""
    kind: str
    """`gold graded wrong`, `perturbed graded right`, `gold differs from sgl-eval`, `not in
    sgl-eval's copy`."""
    gold: str
    other: str
    """The perturbed answer, or sgl-eval's gold answer."""


def stated(grader: str, answer: str) -> str:
    """A text that gives `answer` in the form that the benchmark's prompt asks for."""
    if grader == "math":
        return f"So it follows.\n\nThe answer is $\\boxed{{{answer}}}$."
    return f"Answer: {answer}"


def perturbed(grader: str, gold: str) -> list[str]:
    """Answers that are close to the gold one and not equal to it."""
    if grader == "mcq":
        return [letter for letter in "ABCD" if letter != gold.strip()]
    if grader == "math" and not _NUMBER.fullmatch(gold.strip()):
        return [f"{gold}+1", f"17({gold})+3"]
    text = gold.strip().replace(",", "")
    number: int | float = float(text) if "." in text else int(text)
    candidates = [number + 1, number - 1, number * 10 + 1, -number if number else 7, number + 1000]
    return [str(candidate) for candidate in candidates]


def check(path: Path, benchmark: benchmarks.Benchmark) -> tuple[int, int, list[Finding]]:
    """(items, answers graded, findings).

    Raises ValueError if the data cannot be read or another program scores the benchmark.
    """
    grader = benchmark.grader
    if graders.GRADERS[grader] is graders.code:
        scored = f"{benchmark.name} is scored by {grader}, from exported samples"
        raise ValueError(f"{scored}; there is nothing to check.")
    questions = loading.load(benchmark, path)
    findings, graded = list(_against_sgl_eval(questions, benchmark)), 0
    for question in questions:
        gold = question.answer
        if not graders.grade(grader, stated(grader, gold), gold).correct:
            findings.append(Finding(question.id, "gold graded wrong", gold, gold))
        wrong = perturbed(grader, gold)
        for answer in wrong:
            if graders.grade(grader, stated(grader, answer), gold).correct:
                findings.append(Finding(question.id, "perturbed graded right", gold, answer))
        graded += 1 + len(wrong)
    return len(questions), graded, findings


def _against_sgl_eval(
    questions: list[loading.Question], benchmark: benchmarks.Benchmark
) -> Iterator[Finding]:
    if not benchmark.source.startswith("sgl-eval:"):
        return
    theirs = {q: _words(q.question) for q in loading.load(benchmark)}
    for mine in questions:
        words = _words(mine.question)
        overlaps = ((len(words & other) / len(words | other), q) for q, other in theirs.items())
        overlap, same = max(overlaps)
        if overlap < SAME_QUESTION:
            yield Finding(mine.id, "not in sgl-eval's copy", mine.answer, same.question[:60])
        elif not graders.math(stated("math", mine.answer), same.answer).correct:
            yield Finding(mine.id, "gold differs from sgl-eval", mine.answer, same.answer)


def _words(text: str) -> set[str]:
    """Copies of a question differ in spaces and LaTeX marks, but hardly in words."""
    return set(re.findall(r"[a-z]{3,}|\d+", text.lower()))


def guess(path: Path) -> benchmarks.Benchmark:
    """The benchmark that a file is named after. Raises ValueError if there is none."""
    name = path.stem.lower().replace("-", "_")
    for benchmark in benchmarks.BENCHMARKS.values():
        if name in (benchmark.name, benchmark.name.replace("_", "")):
            return benchmark
    known = ", ".join(benchmarks.BENCHMARKS)
    raise ValueError(
        f"{path.name} is not named after a benchmark; give --benchmark, one of {known}."
    )


def report(path: Path, benchmark: benchmarks.Benchmark) -> tuple[str, bool]:
    """(what to print, whether there were no findings)."""
    items, graded, findings = check(path, benchmark)
    done = f"{path.name}: {items} items, {graded} answers graded by {benchmark.grader}"
    lines = [f"{done}, {len(findings)} findings"]
    lines += [f"  {f.question}: {f.kind}: gold {f.gold!r}, other {f.other!r}" for f in findings]
    return "\n".join(lines), not findings
