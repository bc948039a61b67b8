"""`make mutants`: break each promise on purpose; the test that guards it has to fail.

A mutant is one edit of one source file, applied in a copy of the tree, so that nothing here is ever
changed. It is killed when a test named with it fails; a survivor, an edit that no longer applies,
or one that merely keeps the tests from running, is an error.

    python tests/mutants.py [name ...]
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("sglang_soft", "kernels", "evals", "launch", "tests", "pyproject.toml")
ERROR = re.compile(r"\w+(Error|Exception|Exit)\b")


class Mutant(NamedTuple):
    name: str
    promise: str
    """The invariant that the edit breaks."""
    file: str
    old: str
    new: str
    tests: str
    """pytest arguments: tests that must fail."""
    stops: str = ""
    """The assertion of ours by which the engine itself notices the mutant. SGLang then kills its
    whole process tree, the tests included, so that none of them can fail."""


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "argmax-id-for-key",
        "KV of concept tokens is reachable only through the same concept tokens",
        "sglang_soft/request.py",
        "fill_ids[prompt_len + index] = concept_key(record, self._vector(index))",
        "concept_key(record)",
        "tests/engine/test_isolation.py -k cannot_reach",
    ),
    Mutant(
        "hook-dropped",
        "a retracted request replays the mixtures that it was fed",
        "sglang_soft/hooks/forward_batch.py",
        "forward_batch.soft_embed = _extend_plan(pool, batch, soft, set(fresh), rows)",
        "forward_batch.soft_embed = None",
        "tests/engine/test_traces.py -k retract-no-radix",
    ),
    Mutant(
        "weights-rounded-on-replay",
        "weights have one value everywhere",
        "sglang_soft/hooks/forward_batch.py",
        "weights.append(torch.from_numpy(concept.weights.copy()))",
        "weights.append(torch.from_numpy(concept.weights.copy()).half().float())",
        "tests/engine/test_traces.py -k retract-no-radix",
    ),
    Mutant(
        "last-step-under-its-readable-id",
        "a last step whose concept the host does not know cannot be matched",
        "sglang_soft/request.py",
        "fill_ids[prompt_len + index] = private_key(rid, index)",
        "pass",
        "tests/engine/test_isolation.py -k last_step",
    ),
    Mutant(
        "row-reused",
        "a hard request that is given a soft request's row is decoded plainly",
        "sglang_soft/hooks/forward_batch.py",
        "starting = [i for i in fresh if soft[i] or all_rows[i] in pool.dirty]",
        "starting = [i for i in fresh if soft[i]]",
        "tests/engine/test_rows.py",
    ),
    Mutant(
        "cold-stop-counts-in-the-answer",
        "Cold Stop acts in the thinking phase only",
        "kernels/sglang_soft_kernels/cpu.py",
        "kind if ints[b, PHASE] == THINKS else PLAIN",
        "kind if ints[b, PHASE] >= THINKS else PLAIN",
        "tests/engine/test_traces.py -k default",
        stops="AssertionError: thinking step in phase",
    ),
    Mutant(
        "hard-rows-take-part",
        "hard rows keep the tokens of SGLang's own sampler",
        "kernels/sglang_soft_kernels/cpu.py",
        "        if packed[b, 2 * K + 1] != PLAIN:\n            tokens[b]",
        "        if True:\n            tokens[b]",
        "tests/engine/test_isolation.py -k drawn",
    ),
    Mutant(
        "waiting-rows-left-out",
        "a request that waits for think-start begins to think behind it",
        "sglang_soft/plan.py",
        "r if r and r.phase != Phase.ANSWER else None",
        "r if r and r.phase == Phase.THINK else None",
        "tests/engine/test_traces.py -k default",
    ),
    Mutant(
        "nothing-drawn-beside-a-thinker",
        "SGLang draws the tokens of rows that do not think",
        "sglang_soft/hooks/sampler.py",
        "if record.kind.all():",
        "if record.kind.any():",
        "tests/hooks/test_sampler.py",
    ),
    Mutant(
        "think-end-against-the-grammar",
        "think-end is not forced where the logits forbid it",
        "kernels/sglang_soft_kernels/state_reference.py",
        "kind = torch.where(allowed, kind, _STEP[Step.CONCEPT])",
        "pass",
        "tests/kernels/test_state_reference.py",
    ),
    Mutant(
        "thinking-never-ends-in-the-kernel",
        "a step's kernels do what their reference does",
        "kernels/sglang_soft_kernels/state_triton.py",
        "mask=starts | (kind > CONCEPT))",
        "mask=starts)",
        "tests/kernels/test_interpreter.py",
    ),
    Mutant(
        "logprob-of-the-drawn-token",
        "logprobs are of the token that was emitted",
        "sglang_soft/hooks/sampler.py",
        "        self._sampler.merge(batch_next_token_ids)\n",
        "",
        "tests/engine/test_logprobs.py",
    ),
    Mutant(
        "decode-tail-of-a-mixed-chunk",
        "mixed chunked prefill feeds concept tokens to its decode rows",
        "sglang_soft/hooks/forward_batch.py",
        "token_rows[position] = slot",
        "pass",
        "tests/engine/test_traces.py -k mixed-chunk",
    ),
    Mutant(
        "bf16-sum-before-reduce",
        "tensor-parallel ranks add float32 partial sums",
        "sglang_soft/hooks/embedding.py",
        "torch.float32 if self.tp_size > 1 else self.output_dtype",
        "self.output_dtype",
        "tests/hooks/test_embedding.py",
    ),
    Mutant(
        "ids-of-other-ranks",
        "each tensor-parallel rank adds the tokens of its own shard, and no other",
        "sglang_soft/hooks/embedding.py",
        "        plan.ids,\n",
        "        plan.ids.clamp(max=len(self.weight) - 1),\n",
        "tests/engine/test_traces.py -k tp2",
    ),
    Mutant(
        "vector-of-every-rank",
        "a vector counts once, whatever the tensor-parallel size",
        "sglang_soft/hooks/embedding.py",
        "first_rank = s.org_vocab_start_index == 0",
        "first_rank = True",
        "tests/engine/test_methods.py -k tp2",
    ),
    Mutant(
        "noise-of-the-row",
        "noise depends on (seed, position), never on the row or the batch",
        "sglang_soft/step.py",
        "Noise(pool.seeds[rows], ",
        "Noise(pool.seeds[rows] + rows, ",
        "tests/test_step.py",
    ),
    Mutant(
        "vector-not-replayed",
        "a retracted request replays the vectors that it was fed",
        "sglang_soft/hooks/forward_batch.py",
        "table_vectors[slot], has_vector[slot] = vector, True",
        "pass",
        "tests/engine/test_methods.py -k retract-no-radix",
    ),
    Mutant(
        "method-state-lost",
        "a retracted request goes on with the state of its method",
        "sglang_soft/request.py",
        "self.method_state = tuple(state[: len(self.method.state)])",
        "pass",
        "tests/engine/test_methods.py -k retract-no-radix",
    ),
    Mutant(
        "vector-not-in-the-name",
        "KV of a fed vector is reachable only through the same vector",
        "sglang_soft/request.py",
        "concept_key(record, self._vector(index))",
        "concept_key(record)",
        "tests/test_history.py",
    ),
    Mutant(
        "signature-unchecked",
        "a hook whose target changed stops the server",
        "sglang_soft/ledger.py",
        "if found[: len(record.parameters)] != record.parameters:",
        "if False:",
        "tests/test_plugin.py",
    ),
    Mutant(
        "unknown-key-ignored",
        "an unknown key is refused",
        "sglang_soft/params.py",
        '            raise ValueError(f"{KEY}: unknown key',
        '            continue\n            raise ValueError(f"{KEY}: unknown key',
        "tests/test_params.py",
    ),
    Mutant(
        "bool-is-a-number",
        "a bool does not stand for a number",
        "sglang_soft/fields.py",
        " or (self.kind is not bool and isinstance(value, bool))",
        "",
        "tests/test_params.py",
    ),
    Mutant(
        "torn-line-kept",
        "evals: a line torn by a kill is cut off on resume",
        "evals/sglang_soft_evals/records.py",
        "if whole < len(content):",
        "if not content:",
        "tests/evals/test_records.py::test_a_line_torn_at_any_byte_is_cut_off_and_nothing_else",
    ),
    Mutant(
        "second-run-joins",
        "evals: two runs cannot write into one directory",
        "evals/sglang_soft_evals/records.py",
        "            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "            pass",
        "tests/evals/test_records.py::test_two_runs_cannot_share_a_file",
    ),
    Mutant(
        "failed-dropped",
        "evals: failed requests are records",
        "evals/sglang_soft_evals/run.py",
        "            self.records.append(record)\n",
        '            if record["status"] != "failed":\n                self.records.append(record)\n',
        "tests/evals/test_run.py::test_truncated_and_failed_requests_are_records",
    ),
    Mutant(
        "resume-asks-again",
        "evals: a resumed run repeats no sample",
        "evals/sglang_soft_evals/run.py",
        "if Key(method.name, question.id, sample) not in done:",
        "if True:",
        "tests/evals/test_run.py::test_failed_samples_are_asked_again_only_if_told",
    ),
    Mutant(
        "seed-of-the-method",
        "evals: methods differ in soft_thinking alone",
        "evals/sglang_soft_evals/sample.py",
        '"seed": task.seed,\n        "return',
        '"seed": task.seed + ord(task.method.name[1]),\n        "return',
        "tests/evals/test_run.py::test_methods_get_the_same_requests_in_turn",
    ),
    Mutant(
        "another-run-resumed",
        "evals: a directory that holds another run is refused",
        "evals/sglang_soft_evals/setup.py",
        "    if differing:",
        "    if not differing:",
        "tests/evals/test_run.py::test_resuming_another_run_is_refused_by_name",
    ),
    Mutant(
        "dead-server-fails-samples",
        "evals: a server that goes away stops the run; its samples are not failed ones",
        "evals/sglang_soft_evals/client.py",
        "        if not await self.healthy():",
        "        if await self.healthy(0):",
        "tests/evals/test_run.py::test_a_server_that_goes_away_stops_the_run_without_failed_records",
    ),
    Mutant(
        "trained-questions",
        "evals: arith asks nothing that the bundled model was trained on",
        "evals/sglang_soft_evals/arith.py",
        "if fair and problem.held_out:",
        "if fair:",
        "tests/evals/test_loading.py::test_arith_is_held_out_distinct_and_fixed_by_its_seed",
    ),
)


def run(mutant: Mutant) -> tuple[bool, str]:
    """(killed, why)."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as scratch:
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(
                    source, Path(scratch) / name, ignore=shutil.ignore_patterns("__pycache__")
                )
            elif source.exists():
                shutil.copy(source, scratch)
        target = Path(scratch) / mutant.file
        text = target.read_text()
        if text.count(mutant.old) != 1:
            raise SystemExit(
                f"{mutant.name}: its text stands {text.count(mutant.old)} times in {mutant.file}"
            )
        target.write_text(text.replace(mutant.old, mutant.new))
        # PYTHONPATH comes before the editable install: the copy is what is imported, in every
        # process.
        paths = [scratch, *(os.path.join(scratch, p) for p in ("kernels", "evals"))]
        done = subprocess.run(
            [
                sys.executable,
                *("-m", "pytest", "-q", "-s", "-x", "-p", "no:cacheprovider", "-p", "no:warnings"),
                *mutant.tests.split(),
            ],
            cwd=scratch,
            # One long line for each failed test, and no colours.
            env=os.environ
            | {"PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "240", "NO_COLOR": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=1200,
        )
    return verdict(mutant, done.returncode, done.stdout)


def verdict(mutant: Mutant, returncode: int, output: str) -> tuple[bool, str]:
    """(killed, why) from how pytest ended. Only a failed test kills, or the assertion that the
    mutant says stops the engine; an engine that cannot start, or that stops for another reason,
    says nothing about the promise."""
    lines = output.strip().splitlines() or [""]
    if returncode == 1:
        failed = [line for line in lines if line.startswith("FAILED ")]
        return bool(failed), (failed or lines)[-1]
    errors = [line for line in lines if ERROR.match(line)]
    why = f"exit status {returncode}: {(errors or lines)[-1]}"
    return bool(mutant.stops) and any(line.startswith(mutant.stops) for line in errors), why


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="name")
    names = parser.parse_args().names
    unknown = set(names) - {m.name for m in MUTANTS}
    if unknown:
        parser.error(
            f"unknown mutant {', '.join(sorted(unknown))}; known: {', '.join(m.name for m in MUTANTS)}"
        )
    survivors = []
    for mutant in MUTANTS:
        if names and mutant.name not in names:
            continue
        start = time.monotonic()
        killed, why = run(mutant)
        print(
            f"{'killed' if killed else 'SURVIVED':9} {mutant.name:32} {time.monotonic() - start:5.0f} s  {why}",
            flush=True,
        )
        if not killed:
            survivors.append(mutant.name)
    if survivors:
        raise SystemExit(f"survivors: {', '.join(survivors)}")


if __name__ == "__main__":
    main()
