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


@mutant("a thought that was cut is not graded", "tests/evals/test_thoughts.py -k does_not_grade")
def cut_thought_graded() -> None:
    from sglang_soft_evals import sample
    from sglang_soft_evals.thoughts import Parts

    replace(sample, "split", lambda _: lambda reasoning, text, is_open: Parts(reasoning, text))


@mutant("a malformed answer is a failed sample",
        "tests/evals/test_thoughts.py -k malformed_answer")  # fmt: skip
def malformed_answer_passes() -> None:
    from sglang_soft_evals import asking, sample

    def make(original):
        return lambda *args: original(*args) | {"status": "ok"}

    replace(sample, "outcome", make)
    replace(asking, "outcome", make)


@mutant("a resumed run has the same server, model and data", "tests/evals/test_same_run.py")
def other_server_resumed() -> None:
    from sglang_soft_evals import preflight

    replace(preflight, "check_same_server", lambda _: lambda run, now: None)


@mutant("a request of the run's length is tried first",
        "tests/evals/test_same_run.py -k have_their_length")  # fmt: skip
def short_trial_only() -> None:
    from sglang_soft_evals.client import Client

    def make(_):
        async def refusal(self, body):
            return None

        return refusal

    replace(Client, "refusal", make)


@mutant("a method that mixed nothing is named", "tests/evals/test_mixing.py -k mixed_nothing")
def unmixed_not_named() -> None:
    from sglang_soft_evals import mixing

    replace(mixing, "warning", lambda _: lambda records: None)


@mutant("what a grader started ends with it",
        "tests/evals/test_grading.py -k processes_that_a_grader_started")  # fmt: skip
def grader_alone_ends() -> None:
    import os

    from sglang_soft_evals import grading

    replace(grading.os, "killpg", lambda _: os.kill)


@mutant("a connection that the server closes is opened again",
        "tests/evals/test_addresses.py -k server_closes")  # fmt: skip
def closed_connection_fails() -> None:
    from sglang_soft_evals import client

    replace(client, "CLOSED_TRIES", lambda _: 1)


@mutant("the tokens of a thought count once", "tests/evals/test_forking.py -k asked_for_once")
def every_answer_pays_for_its_thought() -> None:
    from sglang_soft_evals import forking

    def make(original):
        return lambda thought, answers: [original(thought, [one])[0] for one in answers]

    replace(forking, "joined", make)


@mutant(
    "a run keeps the traces that it was asked to keep", "tests/evals/test_kept_traces.py -k which"
)
def every_trace_is_kept() -> None:
    from sglang_soft_evals.config import RunConfig

    replace(RunConfig, "keeps_trace", lambda _: lambda self, sample: True)


@mutant(
    "a page of the report compares both sides", "tests/evals/test_kept_traces.py -k both_thoughts"
)
def pages_of_one_side() -> None:
    from sglang_soft_evals.report.pages import Pages

    def make(original):
        return lambda self, baseline, method: original(self, method, method)

    replace(Pages, "add", make)
