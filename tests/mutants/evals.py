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


CONTROLS, BOUNDS = "tests/evals/test_controls.py", "tests/evals/test_bounds.py"


@mutant("a budget control has exactly the rule's mean", f"{BOUNDS} -k exactly_the_mean")
def budget_of_whole_tokens() -> None:
    from sglang_soft_evals.bounds import Budget

    replace(Budget, "of", lambda _: lambda self, sample: self.least)


@mutant("who has a token more is not chosen by length", f"{BOUNDS} -k not_chosen_by_length")
def longest_thoughts_have_more() -> None:
    from sglang_soft_evals import bounds

    def make(original):
        def budget(lengths, mean, salt):
            longest = sorted(lengths, key=lambda sample: -lengths[sample])
            order = {sample: f"{place:06}" for place, sample in enumerate(longest)}
            bounds.draw = lambda salt, sample: order[sample]
            return original(lengths, mean, salt)

        return budget

    replace(bounds, "budget", make)


@mutant("a random stop tells nothing of its own question", f"{BOUNDS} -k its_own_question")
def lengths_stay_at_home() -> None:
    from sglang_soft_evals import bounds

    replace(bounds, "permuted", lambda _: lambda samples, lengths, salt: dict(lengths))


@mutant("a control is the method without its rule", f"{CONTROLS} -k meet_the_mean")
def control_keeps_the_rule() -> None:
    from sglang_soft_evals import stop_rules

    def make(original):
        def counterpart(method, methods):
            found = original(method, methods)
            keep = method.soft_thinking
            return found and type(found)(name=found.name, soft_thinking=keep)

        return counterpart

    replace(stop_rules, "counterpart", make)


@mutant("controls that were made from other records are made again", f"{CONTROLS} -k retried")
def stale_controls_stay() -> None:
    from sglang_soft_evals import controls

    replace(controls, "stale", lambda _: lambda made, records: set())


@mutant("a resumed run repeats no sample of a control", f"{CONTROLS} -k gets_controls")
def controls_asked_again() -> None:
    from sglang_soft_evals import controls

    replace(controls, "tasks", lambda original: lambda *args: original(*args[:-1], ()))


@mutant("no control where a rule saved nothing", f"{CONTROLS} -k saves_nothing")
def control_of_nothing() -> None:
    from sglang_soft_evals import controls

    def make(original):
        def _make(kind, method, other, lengths, samples, seed):
            fewer = {s: max(0, n - 1) for s, n in lengths.get(method.name, {}).items()}
            return original(kind, method, other, lengths | {method.name: fewer}, samples, seed)

        return _make

    replace(controls, "_make", make)


STOPPING = "tests/evals/test_stopping.py"


@mutant("the interaction is what the parts do not explain", f"{STOPPING} -k by_hand")
def interaction_without_cot() -> None:
    from sglang_soft_evals.report import stopping

    def make(original):
        def terms_of(cot, stopped, method, both):
            found = original(cot, stopped, method, both)
            del found["interaction"][cot]
            return found

        return terms_of

    replace(stopping, "terms_of", make)


@mutant("failed requests of a control are shown", f"{STOPPING} -k failed_controls")
def failed_controls_hidden() -> None:
    from sglang_soft_evals.report import stopping_section

    replace(stopping_section, "warnings", lambda _: lambda run, benchmark: [])


@mutant("an AUC's interval draws whole questions", "tests/evals/test_ranking.py -k whole_questions")
def answers_drawn_one_by_one() -> None:
    import numpy as np
    from sglang_soft_evals.statistics import ranking

    def make(original):
        def checked(values, wrong, questions):
            values, wrong, _ = original(values, wrong, questions)
            return values, wrong, np.arange(values.size)

        return checked

    replace(ranking, "_checked", make)


@mutant("parameters of stop rules are chosen on other questions",
        "tests/launch/test_stops.py -k no_question_of_the_run")  # fmt: skip
def chosen_on_the_run() -> None:
    from launch.stops import choice

    replace(choice, "SEED", lambda _: choice.RUN_SEED)
    replace(choice, "RUN_SEED", lambda _: 1)


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
