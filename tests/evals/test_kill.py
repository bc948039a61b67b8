"""A run with the toy model, killed with SIGKILL at random moments, loses no sample and repeats
none."""

import random
import signal
import subprocess
import sys
import time

import orjson
from sglang_soft_evals import benchmarks, loading, run, runfile

from tests.evals.runs import keys, raw, samples

QUESTIONS, SAMPLES, KILLS = 20, 4, 5
TOTAL = QUESTIONS * SAMPLES * 3


def test_killed_five_times_and_resumed(server, tmp_path):
    # Other moments every time; what must hold does not depend on them.
    rng = random.Random(time.time_ns())
    file, out = tmp_path / "arith.yaml", tmp_path / "out"
    file.write_bytes(orjson.dumps(raw(server, questions=QUESTIONS, samples=SAMPLES)))
    command = [sys.executable, "-m", "sglang_soft_evals", "run", str(file)]
    command += ["--out", str(out), "--no-report"]
    path, seen, torn = out / "samples.jsonl", [], 0
    for kill in range(1, KILLS + 1):
        before = len(seen)
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        # Some records must have come, some must be missing: the moment is random within the next
        # fifth.
        wanted = before + rng.randint(1, TOTAL // (KILLS + 2))
        while process.poll() is None and (
            not path.exists() or path.read_bytes().count(b"\n") < wanted
        ):
            time.sleep(0.001)
        time.sleep(rng.random() * 0.05)
        assert process.poll() is None, "the run ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
        content = path.read_bytes()
        if kill == KILLS:  # a kill inside write() is rare: tear the last line by hand once
            last = content[:-1].rfind(b"\n") + 1
            torn, content = 1, content[: rng.randrange(last + 1, len(content))]
            path.write_bytes(content)
        whole = [line for line in content.splitlines(keepends=True) if line.endswith(b"\n")]
        lines = [orjson.loads(line) for line in whole]
        assert lines[:before] == seen[:before], "a record that was there has changed"
        assert before < len(lines) < TOTAL
        seen = lines
    assert torn
    assert subprocess.run(command, timeout=300).returncode == 0
    assert samples(out)[: len(seen)] == seen
    assert len(keys(out)) == len(set(keys(out))) == TOTAL
    written = orjson.loads((out / "run.json").read_bytes())
    assert written["complete"] and len(written["sessions"]) == KILLS + 1
    questions = loading.load(benchmarks.get("arith"), count=QUESTIONS)
    asked = run.tasks(runfile.read(file), questions, {})
    expected = {(t.method.name, t.question.id, t.sample): t.seed for t in asked}
    assert {(r["method"], r["question"], r["sample"]): r["seed"] for r in samples(out)} == expected
