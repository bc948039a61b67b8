"""`make bundle`: what a GPU host without network lacks, as one tar file in chunks with checksums.

    python -m launch.offline.bundle --have have.txt --dry-run    have.txt: `pip freeze` of the host
    python -m launch.offline.bundle --have have.txt --python-version 3.12

Wheels of requirements.lock that the host does not have in that version, our own wheel, and the list
that install.sh installs. Needs pip for the download.
"""

import argparse
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from launch import ROOT

DEVELOPMENT = ("codespell", "mypy", "pre-commit", "ruff")
"""Packages of the lock that are of no use on the host."""
GLIBC = (39, 35, 34, 31, 28, 27, 24, 17, 5)
"""Minor versions of glibc 2 that wheels on PyPI are tagged with, up to that of Ubuntu 24.04."""
PLATFORMS = [
    *(f"manylinux_2_{n}_x86_64" for n in GLIBC),
    "manylinux2014_x86_64",
    "manylinux1_x86_64",
    "any",
]


class Choice(NamedTuple):
    travels: list[str]
    """`name==version` of each package in the bundle."""
    replaced: list[str]
    """Lines for the reader: packages that travel although the host has them."""
    kept: list[str]
    """Lines for the reader: packages that the host keeps in another version than the lock's."""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def parse_pins(text: str) -> dict[str, str]:
    """Version by package of lines `name==version`; a local version (2.11.0+cu130) counts as its
    public one. Other lines of a `pip freeze` (paths, comments) name nothing that could be compared,
    and are passed over."""
    found = {}
    for line in text.splitlines():
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([^\s;+]+)(\+\S+)?\s*(#.*|;.*)?", line.strip())
        if match:
            found[canonical(match[1])] = match[2]
    return found


def choose(
    lock: Mapping[str, str], have: Mapping[str, str], keep: Iterable[str], without: Iterable[str]
) -> Choice:
    """Raises ValueError for a name in `keep` that the host does not have."""
    keep, without = {canonical(name) for name in keep}, {canonical(name) for name in without}
    if unknown := sorted(keep - have.keys()):
        raise ValueError(f"--keep {', '.join(unknown)}: not in the list of --have")
    choice = Choice([], [], [])
    for name, wanted in lock.items():
        theirs = have.get(name)
        if theirs == wanted or name in without:
            continue
        if name in keep:
            choice.kept.append(f"{name}: {theirs} (lock: {wanted})")
            continue
        choice.travels.append(f"{name}=={wanted}")
        if theirs:
            choice.replaced.append(f"{name}: {theirs} -> {wanted}")
    return choice


def download_command(wheels: Path, requirements: Path, python_version: str) -> list[str]:
    """Wheels for the host's Python on Linux x86-64, whatever this machine is."""
    abi = "cp" + python_version.replace(".", "")
    tags = ["--implementation", "cp", "--abi", abi, "--abi", "abi3", "--abi", "none"]
    for name in PLATFORMS:
        tags += ["--platform", name]
    pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps"]
    pins = ["--only-binary=:all:", "--python-version", python_version, *tags]
    return [*pip, *pins, "-r", str(requirements), "-d", str(wheels)]


def own_wheel(wheels: Path, scratch: Path) -> None:
    """Build it from a copy: setuptools leaves its build folder next to the sources, and packs what
    is stale in it."""
    source = scratch / "source"
    ignored = shutil.ignore_patterns(".*", "build", "dist", "results", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, ignore=ignored)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation"]
    subprocess.run(
        [*build, "--outdir", str(wheels), str(source)], check=True, stdout=subprocess.DEVNULL
    )


def pack(content: Path, out: Path, chunk_mb: int) -> list[Path]:
    """Pack the files of `content` into chunks in `out`, with SHA256SUMS and the install script.
    Returns the chunks."""
    script = Path(__file__).with_name("pack.sh")
    subprocess.run(["bash", str(script), str(content), str(out), str(chunk_mb)], check=True)
    return sorted(out.glob("bundle.tar.*"))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--have", type=Path, metavar="FILE", help="lines name==version: packages of the host")
    add("--keep", nargs="+", default=[], metavar="NAME", help="keep the host's version of these")
    add("--without", nargs="+", default=[], metavar="NAME", help="leave these out")
    default = "{}.{}".format(*sys.version_info)
    add("--python-version", default=default, help="of the host (default: %(default)s)")
    add("--chunk-mb", type=int, default=60, help="megabytes of 10^6 bytes (default: %(default)s)")
    add("--out", type=Path, default=ROOT / "dist" / "bundle")
    add("--dry-run", action="store_true", help="list what would be downloaded; download nothing")
    args = parser.parse_args()
    if args.chunk_mb < 1:
        parser.error(f"--chunk-mb must be 1 or more; got {args.chunk_mb}")
    return args


def main() -> None:
    args = arguments()
    lock = parse_pins((ROOT / "requirements.lock").read_text())
    try:
        have = parse_pins(args.have.read_text()) if args.have else {}
        choice = choose(lock, have, args.keep, [*DEVELOPMENT, *args.without])
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from error
    for title, lines in (("replaced", choice.replaced), ("kept", choice.kept)):
        print("".join(f"{title} on the host: {line}\n" for line in lines), end="")
    print(f"{len(choice.travels)} of {len(lock)} packages of the lock travel, and our own wheel")
    if not args.dry_run and importlib.util.find_spec("pip") is None:
        raise SystemExit(f"error: {sys.executable} has no pip; the environment of `make` has it")
    with tempfile.TemporaryDirectory() as temporary:
        wheels = Path(temporary, "content", "wheels")
        wheels.mkdir(parents=True)
        requirements = wheels.parent / "requirements.txt"
        requirements.write_text("".join(f"{pin}\n" for pin in choice.travels))
        command = download_command(wheels, requirements, args.python_version)
        if args.dry_run:
            print("\n".join(choice.travels))
            shown = " ".join(command).replace(temporary, "TMP").replace(sys.executable, "python")
            print(f"would run: {shown}")
            return
        if choice.travels:
            subprocess.run(command, check=True)
        own_wheel(wheels, Path(temporary))
        with requirements.open("a") as file:
            file.write("sglang-soft\n")
        chunks = pack(wheels.parent, args.out, args.chunk_mb)
    total = sum(path.stat().st_size for path in chunks)
    print(f"{args.out}: {len(chunks)} chunks, {total / 1e6:.0f} MB; there: bash install.sh")


if __name__ == "__main__":
    main()
