"""A run: every question, sample and method is asked once and recorded when its answer comes."""

import asyncio
from collections.abc import Container, Iterator
from pathlib import Path

from sglang_soft_evals import benchmarks, loading, preflight
from sglang_soft_evals.config import RunConfig
from sglang_soft_evals.hub import Question
from sglang_soft_evals.record import Key
from sglang_soft_evals.records import Records
from sglang_soft_evals.rundir import SAMPLES
from sglang_soft_evals.sample import Answer, Task, seed_of
from sglang_soft_evals.server import running
from sglang_soft_evals.session import Outcome, Session


def execute(
    config: RunConfig, out: Path, *, retry_failed: bool = False, api_key: str | None = None
) -> Outcome:
    """Run or resume. Writes `samples.jsonl` and `run.json` in `out`.

    Args:
        config: the run.
        out: the run directory; it is created if it is missing.
        retry_failed: ask failed samples again.
        api_key: sent to the server as a bearer token; it is not written anywhere.

    Raises:
        ValueError: the data cannot be read, `out` holds another run, or the server does not start,
            refuses a method or does not run the plugin.
    """
    run = preflight.check_resumable(out, config)
    questions = loading.load(
        benchmarks.get(config.benchmark),
        Path(config.data) if config.data else None,
        config.questions,
        config.seed,
    )
    out.mkdir(parents=True, exist_ok=True)
    records = Records(out / SAMPLES, retry_failed=retry_failed)
    try:
        if records.done and run is None:
            raise ValueError(f"{out} has samples but no run.json; choose another --out.")
        with running(config.server, out / "server.log") as base_url:
            session = Session(config, out, questions, records, run, base_url, api_key)
            return asyncio.run(session.go(tasks(config, questions, frozenset(records.done))))
    finally:
        records.close()


def tasks(config: RunConfig, questions: list[Question], done: Container[Key]) -> Iterator[Task]:
    """Every sample that has no record yet.

    Methods take turns within each question, so that load and noise of the machine are the same for
    all of them. Answers of one thought are one task.
    """
    for sample in range(config.samples):
        for question in questions:
            for method in config.methods:
                forks = method.answers_per_thought
                if sample % forks:
                    continue
                wanted = tuple(
                    Answer(one, seed_of(config.seed, question.id, one))
                    for one in range(sample, sample + forks)
                    if Key(config.benchmark, method.name, question.id, one) not in done
                )
                if wanted:
                    seed = seed_of(config.seed, question.id, sample)
                    yield Task(method, question, sample, seed, wanted if forks > 1 else ())
