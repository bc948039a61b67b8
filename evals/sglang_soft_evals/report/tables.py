"""The tables of one benchmark."""

from collections.abc import Mapping

from sglang_soft_evals.report.comparisons import GAIN, Comparison
from sglang_soft_evals.report.document import Cell, Link, Table
from sglang_soft_evals.report.measures import Measures
from sglang_soft_evals.report.movers import Move
from sglang_soft_evals.report.numbers import NONE, number, p_value, percent, points, share, signed
from sglang_soft_evals.report.published import Published
from sglang_soft_evals.report.records import Identity, Record, Run
from sglang_soft_evals.statistics import majority_at_k, pass_at_k


def headline(
    measures: Mapping[str, Measures], comparisons: Mapping[str, Comparison], baseline: str
) -> Table:
    """Accuracy, difference to the baseline and what it would take to see one."""
    header = ["method", "accuracy, %", f"minus {baseline}, points", "p", "p (Holm)", "verdict"]
    header += [
        f"questions needed for {100 * GAIN:g} points",
        "smallest visible gain, points",
        "tokens",
        "truncated",
        "failed",
    ]
    rows: list[list[Cell]] = []
    for name, m in measures.items():
        row: list[Cell] = [name, percent(m.accuracy) if m.accuracy else "not graded"]
        c = comparisons.get(name)
        if c is None:
            row += [
                "baseline" if name == baseline else "no common question",
                NONE,
                NONE,
                NONE,
                NONE,
                NONE,
            ]
        else:
            row += [points(c.difference, c.low, c.high), p_value(c.p), p_value(c.p_holm), c.verdict]
            row += [number(c.needed), NONE if c.smallest is None else number(100 * c.smallest, 1)]
        tokens = number(m.tokens.value) if m.tokens else NONE
        rows.append([*row, tokens, share(m.truncated, m.answers), share(m.failed, m.answers)])
    return Table(
        header,
        rows,
        "Accuracy: pass@1, mean over the samples of a question, then over questions. A truncated answer is graded as "
        "it stands; a failed request counts as wrong. Brackets: 95% intervals, clustered by question; that of a "
        "difference is a bootstrap over questions, not adjusted for the number of methods. p: sign-flip permutation "
        "test on questions; Holm: adjusted for all methods compared here. Verdict: higher or lower only if the "
        "interval leaves out 0 and the adjusted p is below 0.05. Questions needed and smallest gain: 80% power at "
        "alpha 0.05, paired, from the spread of the differences observed here. Tokens: mean of an answer, thinking and "
        "answer together.",
    )


def details(
    comparisons: Mapping[str, Comparison], measures: Mapping[str, Measures], baseline: str
) -> Table:
    """What each comparison rests on, and its price in tokens."""
    header = [
        "method",
        "questions compared",
        "left out",
        "test",
        "questions needed for the difference observed",
    ]
    header += [f"tokens minus {baseline}", "in %"]
    rows: list[list[Cell]] = []
    base = measures[baseline].tokens if baseline in measures else None
    for name, c in comparisons.items():
        row: list[Cell] = [
            name,
            number(c.questions),
            number(c.left_out),
            "exact" if c.exact else "Monte Carlo",
        ]
        row.append(number(c.needed_observed))
        if c.tokens is None:
            row += [NONE, NONE]
        else:
            difference, low, high = c.tokens
            row.append(f"{signed(difference, 0)} [{signed(low, 0)}, {signed(high, 0)}]")
            row.append(signed(100 * difference / base.value) if base and base.value else NONE)
        rows.append(row)
    return Table(
        header,
        rows,
        "Left out: questions that only one of the two has. Tokens: all answers, paired by question.",
    )


def cost(measures: Mapping[str, Measures]) -> Table:
    """Tokens over all and over correct answers, speed, how thinking ended."""
    header = [
        "method",
        "answers",
        "thinking, all",
        "thinking, correct",
        "answer, all",
        "answer, correct",
    ]
    header += [
        "tokens/s of a request",
        "latency, s: mean",
        "p90",
        "mean entropy",
        "how thinking ended",
    ]
    rows: list[list[Cell]] = []
    for name, m in measures.items():
        ended = ", ".join(f"{how} {count:,}" for how, count in m.how_ended.most_common())
        row: list[Cell] = [
            name,
            number(m.answers),
            *(number(v) for v in (m.thinking, m.thinking_correct)),
        ]
        row += [number(m.answer), number(m.answer_correct), number(m.tokens_per_s, 1)]
        rows.append(
            [
                *row,
                number(m.latency_s, 2),
                number(m.latency_s_p90, 2),
                number(m.entropy, 3),
                ended or NONE,
            ]
        )
    return Table(
        header,
        rows,
        "Mean tokens of an answer. The Soft Thinking paper counts correct answers only, which hides what a method "
        "spends on those it gets wrong; compare the columns over all. Failed requests have no tokens and are left out. "
        "Latency and tokens/s are those of one request at this run's concurrency, not the server's throughput.",
    )


def at_k(run: Run, benchmark: str, name: str) -> Table | None:
    """pass@k or majority@k over k = 1, 2, 4, ... as far as any method was sampled; None for one
    sample a question."""
    groups = {m: list(run.of(benchmark, m).values()) for m in run.methods if run.of(benchmark, m)}
    most = max(len(group) for questions in groups.values() for group in questions)
    ks = [2**i for i in range(most.bit_length())]
    if most < 2:
        return None
    ks += [most] * (most not in ks)
    ks = ks if name == "pass" else ks[1:]
    rows: list[list[Cell]] = [
        [m, *(_at_k(name, questions, k) for k in ks)] for m, questions in groups.items()
    ]
    note = {
        "pass": "The chance that at least one of k answers is right (unbiased estimator).",
        "majority": "The chance that the most frequent of k extracted answers is right, over all choices of k samples; "
        "ties are drawn fairly, an answer that could not be extracted casts no vote.",
    }[name]
    return Table(
        ["method", *(f"{name}@{k}, %" for k in ks)],
        rows,
        f"{note} Refused where a question has fewer samples.",
    )


def _at_k(name: str, questions: list[list[Record]], k: int) -> str:
    if min(len(group) for group in questions) < k:
        return "under-sampled"
    if name == "pass":
        return percent(
            pass_at_k(
                [sum(r.correct for r in g) for g in questions], [len(g) for g in questions], k
            )
        )
    return percent(
        majority_at_k([[(r.answer, r.correct) for r in group] for group in questions], k)
    )


def movers(moves: list[Move], anchors: Mapping[Identity, str], baseline: str, method: str) -> Table:
    """Questions that moved, each with a trace of both sides."""
    rows: list[list[Cell]] = []
    for m in moves:
        row: list[Cell] = [
            m.question,
            m.gold,
            f"{100 * m.before:.0f}",
            f"{100 * m.after:.0f}",
            signed(100 * m.change, 0),
        ]
        for record in (m.baseline, m.method):
            answer = NONE if record.answer is None else record.answer[:40]
            row.append(
                Link(
                    f"{answer} ({'right' if record.correct else 'wrong'})", anchors[record.identity]
                )
            )
        rows.append(row)
    return Table(
        [
            "question",
            "gold",
            f"{baseline}, %",
            f"{method}, %",
            "change",
            f"trace of {baseline}",
            f"trace of {method}",
        ],
        rows,
    )


def published(
    rows: list[Published], ours: Mapping[str, Measures], benchmark: str, model: str, samples: int
) -> Table:
    """Our accuracies and the published ones, each with its publisher, model and number of
    samples."""
    cells: list[list[Cell]] = []
    for name, m in ours.items():
        accuracy = percent(m.accuracy) if m.accuracy else "not graded"
        right = number(m.thinking_correct + m.answer_correct)
        cells.append(
            ["this run", model, benchmark, name, f"{m.questions} x {samples}", accuracy, right, ""]
        )
    for row in rows:
        accuracy = f"{row.accuracy:.2f}" + (
            f" (standard error {row.se:.1f})" if row.se is not None else ""
        )
        cells.append(
            [
                row.source,
                row.model,
                row.benchmark,
                row.method,
                row.n,
                accuracy,
                number(row.tokens),
                row.note,
            ]
        )
    return Table(
        [
            "published by",
            "model",
            "benchmark",
            "method",
            "n",
            "accuracy, %",
            "tokens, correct answers",
            "note",
        ],
        cells,
        "Published numbers come from other prompts, graders and hardware; they are set beside ours, not tested against "
        "them. Standard errors of single published runs are computed here from their number of questions.",
    )
