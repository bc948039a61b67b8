import os
import shutil
import subprocess
import sys
from pathlib import Path

import bundle
import chunks
import pytest

CHUNK = 4000
PIP = """#!{python}
import pathlib, sys
given = sys.argv[1:]
folder = pathlib.Path(given[given.index("--find-links") + 1])
files = sorted(f"{{p.name}} {{len(p.read_bytes())}}" for p in folder.iterdir())
pathlib.Path({record!r}).write_text("\\n".join([" ".join(given[:5]), given[-1], *files]))
"""


@pytest.fixture
def packed(tmp_path) -> Path:
    """A bundle of three small files, in chunks of 4000 bytes."""
    content = tmp_path / "content"
    (content / "wheels").mkdir(parents=True)
    (content / "requirements.txt").write_text("a==1\n")
    for name, size in (("a.whl", 1), ("b.whl", 9001), ("c.whl", 4000)):
        (content / "wheels" / name).write_bytes(os.urandom(size))
    out = tmp_path / "bundle"
    out.mkdir()
    (out / "bundle.tar.00099").write_text("of an earlier bundle")
    paths = chunks.pack(content, out, CHUNK)
    assert len(paths) >= 4 and sorted(out.glob("bundle.tar.*")) == paths
    assert {path.stat().st_size for path in paths[:-1]} == {CHUNK} and 0 < paths[
        -1
    ].stat().st_size <= CHUNK
    return out


def install(out: Path, tmp_path: Path) -> tuple[subprocess.CompletedProcess, Path]:
    """Run the bundle's own script with a stand-in for pip that writes down what it was asked and
    given."""
    record, python = tmp_path / "record", tmp_path / "python"
    python.write_text(PIP.format(python=sys.executable, record=str(record)))
    python.chmod(0o755)
    script = ["bash", str(out / "install_bundle.sh"), "--target=there"]
    done = subprocess.run(
        script, env=os.environ | {"PYTHON": str(python)}, capture_output=True, text=True, cwd="/"
    )
    return done, record


def test_install_joins_what_was_packed(packed, tmp_path):
    done, record = install(packed, tmp_path)
    assert done.returncode == 0, done.stderr
    asked, last, *files = record.read_text().splitlines()
    assert asked == "-m pip install --no-index --no-deps" and last == "--target=there"
    assert files == ["a.whl 1", "b.whl 9001", "c.whl 4000"]


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
    script = [sys.executable, bundle.__file__, "--have", str(have), "--out", str(out), "--dry-run"]
    listed = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    assert "sglang==0.5.23" in listed and "would run: python -m pip download" in listed
    assert "numpy==" not in listed and "torch==2.14.1\n" not in listed.splitlines()
    assert not out.exists()
