"""The bundle for a GPU host without network, and the checks that run there."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launch import ROOT
from launch.offline import bundle, checks, gpu_check, kernels_only
from launch.offline.checks import Check

PIP = """#!{python}
import pathlib, sys
given = sys.argv[1:]
folder = pathlib.Path(given[given.index("--find-links") + 1])
files = sorted(f"{{p.name}} {{len(p.read_bytes())}}" for p in folder.iterdir())
pathlib.Path({record!r}).write_text("\\n".join([" ".join(given[:5]), given[-1], *files]))
"""


@pytest.fixture
def packed(tmp_path) -> Path:
    """A bundle of three small files, in chunks of one megabyte."""
    content = tmp_path / "content"
    (content / "wheels").mkdir(parents=True)
    (content / "requirements.txt").write_text("a==1\n")
    for name, size in (("a.whl", 1), ("b.whl", 2_500_001), ("c.whl", 1_000_000)):
        (content / "wheels" / name).write_bytes(os.urandom(size))
    out = tmp_path / "bundle"
    out.mkdir()
    (out / "bundle.tar.00099").write_text("of an earlier bundle")
    paths = bundle.pack(content, out, chunk_mb=1)
    assert [path.name for path in paths] == [f"bundle.tar.{i:05}" for i in range(4)]
    *sizes, last = (path.stat().st_size for path in paths)
    assert set(sizes) == {10**6} and 0 < last <= 10**6
    return out


def install(out: Path, tmp_path: Path) -> tuple[subprocess.CompletedProcess, Path]:
    """Run the bundle's own script with a stand-in for pip that writes down what it was asked and
    given."""
    record, python = tmp_path / "record", tmp_path / "python"
    python.write_text(PIP.format(python=sys.executable, record=str(record)))
    python.chmod(0o755)
    script = ["bash", str(out / "install.sh"), "--target=there"]
    done = subprocess.run(
        script, env=os.environ | {"PYTHON": str(python)}, capture_output=True, text=True, cwd="/"
    )
    return done, record


def test_install_joins_what_was_packed(packed, tmp_path):
    done, record = install(packed, tmp_path)
    assert done.returncode == 0, done.stderr
    asked, last, *files = record.read_text().splitlines()
    assert asked == "-m pip install --no-index --no-deps" and last == "--target=there"
    assert files == ["a.whl 1", "b.whl 2500001", "c.whl 1000000"]


@pytest.mark.parametrize("damage", ["flip", "cut", "missing", "extra"])
def test_install_refuses_a_damaged_bundle(packed, tmp_path, damage):
    second = packed / "bundle.tar.00001"
    if damage == "flip":
        data = bytearray(second.read_bytes())
        data[100] ^= 1
        second.write_bytes(data)
    elif damage == "cut":
        second.write_bytes(second.read_bytes()[:-1])
    elif damage == "missing":
        second.unlink()
    else:
        shutil.copy(second, packed / "bundle.tar.00077")
    done, record = install(packed, tmp_path)
    assert done.returncode != 0 and not record.exists()
    assert ("SHA256SUMS" if damage == "extra" else "bundle.tar.00001") in done.stdout + done.stderr


def test_choice():
    lock = bundle.parse_pins(
        "torch==2.14.1\nnumpy==2.3.5\nFoo_Bar==1\nruff==1\ntriton==3.8.0\nlast==9\n"
    )
    have = bundle.parse_pins(
        "torch==2.11.0+cu130\nNumPy==2.3.5\n# no pin\n-e /src\nx @ file:///x\ntriton==3.6.0\n"
    )
    choice = bundle.choose(lock, have, keep=["Triton"], without=["ruff", "last"])
    assert choice.travels == ["torch==2.14.1", "foo-bar==1"]
    assert choice.replaced == ["torch: 2.11.0 -> 2.14.1"] and choice.kept == [
        "triton: 3.6.0 (lock: 3.8.0)"
    ]
    with pytest.raises(ValueError, match="--keep flask"):
        bundle.choose(lock, have, keep=["flask"], without=[])


def test_dry_run_lists_and_downloads_nothing(tmp_path):
    have = tmp_path / "have.txt"
    have.write_text("numpy==2.3.5\ntorch==2.14.1+cu130\n")
    out = tmp_path / "out"
    listed = dry_run("bundle", "--have", str(have), "--out", str(out))
    assert "sglang==0.5.23" in listed and "would run: python -m pip download" in listed
    assert "numpy==" not in listed and "torch==2.14.1\n" not in listed.splitlines()
    assert not out.exists()


def dry_run(module: str, *args: str) -> str:
    command = [sys.executable, "-m", f"launch.offline.{module}", *args, "--dry-run"]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout


@pytest.mark.parametrize("module", ["gpu_check", "kernels_only"])
def test_dry_run_of_the_checks(module):
    assert "bench_kernels.py" in dry_run(module)


def test_checks_name_files_that_exist():
    for check in gpu_check.CHECKS + kernels_only.CHECKS:
        for argument in check.arguments:
            if "/" in argument:
                assert (ROOT / argument.split("=")[-1]).exists(), argument


@pytest.mark.slow
def test_the_kernel_tests_are_found_without_sglang(tmp_path):
    """What a bare GPU host collects."""
    for name in ("sglang", "orjson", "msgspec", "numba", "transformers"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not on this host')")
    (check,) = (check for check in kernels_only.CHECKS if check.name == "kernel tests")
    done = subprocess.run(
        [sys.executable, *check.arguments, "--collect-only"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT / 'kernels'}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    assert "test_kernels_on_gpu.py" in done.stdout and "error" not in done.stdout.splitlines()[-1]


def python(code: str, limit: int = 60) -> checks.Outcome:
    return checks.run(Check("a check", ("-c", code), limit))


def test_a_check_shows_its_output_and_passes(capsys):
    outcome = python("print('one'); print('two')")
    assert outcome.problem == "" and outcome.output == ["one", "two"]
    assert "one\ntwo\n== a check: passed" in capsys.readouterr().out
    assert python("raise SystemExit(3)").problem == "exit status 3"


def test_a_check_is_killed_at_its_limit_with_all_that_it_started():
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)'])\n"
        "print(child.pid, flush=True); time.sleep(1000)"
    )
    start = time.monotonic()
    outcome = python(code, limit=3)
    assert outcome.problem == "not done after 3 s" and time.monotonic() - start < 20
    stat = Path(f"/proc/{outcome.output[0]}/stat")
    deadline = time.monotonic() + 10
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline, "the check's child lives on"
        time.sleep(0.05)


def test_skipped_tests_are_no_pass():
    assert checks.untested(["40 passed, 300 deselected in 9.1s"]) == ""
    assert "3 tests were skipped" in checks.untested(["40 passed, 3 skipped in 9.1s"])
    assert "no test passed" in checks.untested(["9 skipped in 1s"])
    assert "no test passed" in checks.untested([])


def test_report_names_what_failed():
    problems = ("", "exit status 1", "")
    outcomes = [
        checks.Outcome(check, problem, 1.0, ["out"])
        for check, problem in zip(gpu_check.CHECKS, problems, strict=True)
    ]
    page = gpu_check.report(outcomes, "a machine")
    assert "| kernels | exit status 1 |" in page and "a machine" in page
    assert page.count("| passed |") == 2
