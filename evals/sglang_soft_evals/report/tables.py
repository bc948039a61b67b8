"""The tables of one benchmark."""

from collections.abc import Mapping

from sglang_soft_evals.report.comparisons import GAIN, Comparison
from sglang_soft_evals.report.document import Cell, Table
from sglang_soft_evals.report.measures import Measures
from sglang_soft_evals.report.numbers import NONE, number, p_value, percent, points, share, signed
from sglang_soft_evals.report.published import Published

_HEADLINE_NOTE = """\
Accuracy: pass@1, mean over the samples of a question, then over questions. A truncated answer is
graded as it stands; a failed request counts as wrong. Brackets: 95% intervals, clustered by
question; that of a difference is a bootstrap over questions, not adjusted for the number of
methods. p: sign-flip permutation test on questions; Holm: adjusted for all methods compared here.
Verdict: higher or lower only if the interval does not contain 0 and the adjusted p is below 0.05.
Questions needed and smallest gain: 80% power at alpha 0.05, paired, from the spread of the
differences observed here. Tokens: mean of an answer, thinking and answer together."""
_COST_NOTE = """\
Mean tokens of an answer. The Soft Thinking paper counts correct answers only, which hides the
tokens that a method spends on wrong answers; compare the columns over all. Failed requests have no
tokens and are left out. Mixed tokens: mean over all thinking steps; steps that mix: those of more
than one token, without which a soft method is discrete decoding. Latency and tokens/s are those of
one request at this run's concurrency, not the server's throughput."""
_PUBLISHED_NOTE = """\
Published numbers come from other prompts, graders and hardware; they are shown next to ours, not
tested against them. Standard errors of single published runs are computed here from their number of
questions."""


def headline(
    measures: Mapping[str, Measures], comparisons: Mapping[str, Comparison], baseline: str
) -> Table:
    """Accuracy, difference to the baseline, and the difference that could have been seen."""
    rows = []
    base = measures.get(baseline)
    for name, m in measures.items():
        accuracy = percent(m.accuracy) if m.accuracy else m.no_accuracy
        row: dict[str, Cell] = {"method": name, "accuracy, %": accuracy}
        if (c := comparisons.get(name)) is not None:
            row[f"minus {baseline}, points"] = points(c.difference, c.low, c.high)
        else:
            failed = m.all_failed or (base is not None and base.all_failed)
            alone = "not compared" if failed else "no common question"
            row[f"minus {baseline}, points"] = "baseline" if name == baseline else alone
        row["p"] = p_value(c.p) if c else NONE
        row["p (Holm)"] = p_value(c.p_holm) if c else NONE
        row["verdict"] = c.verdict if c else NONE
        row[f"questions needed for {100 * GAIN:g} points"] = number(c.needed if c else None)
        smallest = None if c is None or c.smallest is None else 100 * c.smallest
        row["smallest visible gain, points"] = number(smallest, 1)
        row["tokens"] = number(m.tokens.value) if m.tokens else NONE
        row["truncated"] = share(m.truncated, m.answers)
        row["failed"] = share(m.failed, m.answers)
        rows.append(row)
    return Table(rows, " ".join(_HEADLINE_NOTE.split()))


def details(
    comparisons: Mapping[str, Comparison], measures: Mapping[str, Measures], baseline: str
) -> Table:
    """The data of each comparison, and its price in tokens."""
    rows = []
    base = measures[baseline].tokens if baseline in measures else None
    for name, c in comparisons.items():
        tokens, relative = NONE, NONE
        if c.tokens is not None:
            difference, low, high = c.tokens
            tokens = f"{signed(difference, 0)} [{signed(low, 0)}, {signed(high, 0)}]"
            relative = signed(100 * difference / base.value) if base and base.value else NONE
        row: dict[str, Cell] = {
            "method": name,
            "questions compared": number(c.questions),
            "left out": number(c.left_out),
            "test": "exact" if c.exact else "Monte Carlo",
            "questions needed for the difference observed": number(c.needed_observed),
            f"tokens minus {baseline}": tokens,
            "in %": relative,
        }
        rows.append(row)
    note = (
        "Left out: questions that only one of the two has. Tokens: all answers, paired by question."
    )
    return Table(rows, note)


def cost(measures: Mapping[str, Measures]) -> Table:
    """Tokens over all and over correct answers, speed, how thinking ended."""
    rows = []
    for name, m in measures.items():
        ended = m.thinking_finish_reasons.most_common()
        row: dict[str, Cell] = {
            "method": name,
            "answers": number(m.answers),
            "thinking, all": number(m.thinking),
            "thinking, correct": number(m.thinking_correct),
            "answer, all": number(m.answer),
            "answer, correct": number(m.answer_correct),
            "tokens/s of a request": number(m.tokens_per_s, 1),
            "latency, s: mean": number(m.latency_s, 2),
            "p90": number(m.latency_s_p90, 2),
            "mean entropy": number(m.entropy, 3),
            "mixed tokens": number(m.concept_size, 2),
            "steps that mix, %": number(100 * m.mixed_share, 1),
            "how thinking ended": ", ".join(f"{why} {n:,}" for why, n in ended) or NONE,
        }
        rows.append(row)
    return Table(rows, " ".join(_COST_NOTE.split()))


def published(
    rows: list[Published], ours: Mapping[str, Measures], benchmark: str, model: str, samples: int
) -> Table:
    """Our accuracies and the published ones, each with publisher, model and number of samples."""
    columns = ["published by", "model", "benchmark", "method", "n", "accuracy, %"]
    columns += ["tokens, correct answers", "note"]
    cells: list[tuple[str, ...]] = []
    for name, m in ours.items():
        accuracy = percent(m.accuracy) if m.accuracy else m.no_accuracy
        right = number(m.thinking_correct + m.answer_correct)
        n = f"{m.questions} x {samples}"
        cells.append(("this run", model, benchmark, name, n, accuracy, right, ""))
    for row in rows:
        error = "" if row.se is None else f" (standard error {row.se:.1f})"
        accuracy, tokens = f"{row.accuracy:.2f}{error}", number(row.tokens)
        first = (row.source, row.model, row.benchmark, row.method, row.n)
        cells.append((*first, accuracy, tokens, row.note))
    note = " ".join(_PUBLISHED_NOTE.split())
    return Table([dict(zip(columns, line, strict=True)) for line in cells], note)
