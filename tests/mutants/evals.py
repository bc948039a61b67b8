"""Evals: no sample is lost, repeated or counted wrongly, and methods differ in one thing alone."""

from tests.mutants import mutant, replace

RUN, RECORDS = "tests/evals/test_run.py", "tests/evals/test_records.py"


@mutant("a line torn by a kill is cut off on resume", f"{RECORDS} -k torn_at_any_byte")
def torn_line_kept() -> None:
    from sglang_soft_evals.records import Records

    replace(Records, "_repair", lambda _: lambda self: 0)


@mutant("two runs cannot write into one directory", f"{RECORDS} -k two_runs")
def second_run_joins() -> None:
    from sglang_soft_evals import records

    replace(records.fcntl, "flock", lambda _: lambda fd, how: None)


@mutant("a resumed run repeats no sample", f"{RUN} -k asked_again_only_if_told")
def resume_asks_again() -> None:
    from sglang_soft_evals import run

    def make(original):
        return lambda path, retry_failed: original(path, retry_failed=True)

    replace(run, "Records", make)


@mutant("methods differ in soft_thinking alone", f"{RUN} -k same_requests")
def seed_of_the_method() -> None:
    from sglang_soft_evals import asking

    def make(original):
        def body(config, task, prompt):
            return original(config, task._replace(seed=task.seed + len(task.method.name)), prompt)

        return body

    replace(asking, "body", make)


@mutant("a directory that holds another run is refused", f"{RUN} -k another_run_is_refused")
def another_run_resumed() -> None:
    from sglang_soft_evals import preflight, rundir

    def make(_):
        return lambda out, config: rundir.read_info(out) if (out / rundir.RUN).exists() else None

    replace(preflight, "check_resumable", make)


@mutant("a server that goes away stops the run; its samples did not fail", f"{RUN} -k goes_away")
def dead_server_fails_samples() -> None:
    from sglang_soft_evals.client import Client

    def make(_):
        async def healthy(self):
            return True

        return healthy

    replace(Client, "healthy", make)


@mutant("failed requests are records", f"{RUN} -k failed_requests_are_records")
def failed_dropped() -> None:
    import orjson
    from sglang_soft_evals.record import parse
    from sglang_soft_evals.records import Records

    def make(original):
        def append(self, row):
            if row["status"] == "failed":
                return parse(orjson.dumps(row), 0)
            return original(self, row)

        return append

    replace(Records, "append", make)


@mutant("arith asks nothing that the toy model was trained on",
        "tests/evals/test_loading.py -k training_code")  # fmt: skip
def trained_questions() -> None:
    from sglang_soft_evals.arith import Problem

    replace(Problem, "held_out", lambda _: True)
