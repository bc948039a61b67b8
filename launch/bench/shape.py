"""How large the code is, and how much of it a decode step runs through.

    python -m launch.bench.shape [--against PATH]

PATH: another checkout of the project, shown in a column next to this one. Starts one engine for
each, to see which files a decode step of method `soft` calls (methods themselves left out).
"""

import argparse
import ast
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from launch.bench.checkout import environment
from launch.bench.turns import markdown

ROOT = Path(__file__).parents[2]
PRODUCT = ("sglang_soft", "kernels/sglang_soft_kernels", "kernels/sglang_soft_cpu")
TOOLS = ("evals", "launch", "kernels/bench")


def python_files(root: Path, folders: tuple[str, ...]) -> list[Path]:
    return [f for folder in folders for f in sorted((root / folder).rglob("*.py"))]


def lines(files: list[Path]) -> list[int]:
    return [len(f.read_text().splitlines()) for f in files]


def assigned_on_sglang(root: Path) -> set[str]:
    """`object.attribute` that our hooks assign, where the object is SGLang's."""
    found = set()
    for file in python_files(root, ("sglang_soft",)):
        for target in _targets(ast.parse(file.read_text())):
            if isinstance(target, ast.Attribute) and "soft" in target.attr:
                found.add(target.attr)
    return found


def _targets(tree: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                yield from target.elts if isinstance(target, ast.Tuple) else [target]
        elif isinstance(node, ast.AnnAssign):
            yield node.target


def registered_hooks(root: Path) -> int:
    """Hooks by SGLang's HookRegistry: rows of the registry, or of the ledger before it."""
    for name in ("sglang_soft/hooks/registry.py", "sglang_soft/ledger.py"):
        if (root / name).exists():
            text = (root / name).read_text()
            return len(re.findall(r'^\s+(?:f?"[^"]*", )?"(?:before|after|around)",|'
                                  r'"[^"]*", "(?:before|after|around)",', text, re.M))  # fmt: skip
    raise FileNotFoundError(f"no table of hooks in {root}")


def step_files(root: Path) -> list[str]:
    """Files of ours that a decode step calls, by an engine of that checkout."""
    script = (
        "import sglang, json, sys\n"
        "if __name__ == '__main__':\n"
        "    engine = sglang.Engine(**json.loads(sys.argv[1]))\n"
        "    sampling = {'max_new_tokens': 64, 'temperature': 0.6, 'ignore_eos': True,\n"
        "                'custom_params': {'soft_thinking': {'top_k': 30}}}\n"
        "    engine.generate('<think>', sampling)\n"
        "    engine.shutdown()\n"
    )
    arguments = {"model_path": str(root / "sglang_soft" / "bundled"), "log_level": "error",
                 "reasoning_parser": "deepseek-r1", "disable_overlap_schedule": True}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        out = scratch / "files"
        (scratch / "path").mkdir()
        (scratch / "path" / "step_files.py").write_text(
            Path(__file__).with_name("step_files.py").read_text()
        )
        paths = environment(root, scratch)["PYTHONPATH"]
        env = {
            "STEP_FILES": str(out),
            "SGLANG_SOFT_METHODS": "step_files",
            "PYTHONPATH": f"{scratch / 'path'}{os.pathsep}{paths}",
        }
        command = [sys.executable, "-W", "ignore", "-c", script, json.dumps(arguments)]
        done = subprocess.run(
            command, env=os.environ | env, capture_output=True, timeout=300, cwd=root
        )
        if not out.exists():
            raise RuntimeError(f"no decode step was seen:\n{done.stderr.decode()[-2000:]}")
        return out.read_text().splitlines()


def _of_plugin(file: str) -> bool:
    """Not the kernels, and not the CPU platform, which lay inside the plugin once."""
    parts = Path(file).parts
    return "sglang_soft" in parts and "cpu" not in parts and "sglang_soft_kernels" not in parts


def figures(root: Path) -> dict[str, object]:
    product, tools = python_files(root, PRODUCT), python_files(root, TOOLS)
    texts = [f.read_text() for f in product]
    sizes = lines(product)
    called = step_files(root)
    longest = product[sizes.index(max(sizes))].relative_to(root)
    return {
        "hooks registered with SGLang": registered_hooks(root),
        "attributes of ours on SGLang's objects": len(assigned_on_sglang(root)),
        "context variables": sum(len(re.findall(r"ContextVar\(", text)) for text in texts),
        "files that a decode step calls: plugin": sum(_of_plugin(f) for f in called),
        "files that a decode step calls: kernels": sum("sglang_soft_kernels" in f for f in called),
        "product: files": len(product),
        "product: lines": sum(sizes),
        "product: median file, lines": statistics.median(sizes),
        "product: longest file, lines": f"{max(sizes)} ({longest})",
        "evals, launch, benchmarks: lines": sum(lines(tools)),
        "README, words": len((root / "README.md").read_text().split()),
        "README, lines": len((root / "README.md").read_text().splitlines()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", type=Path, metavar="PATH", help="another checkout")
    args = parser.parse_args()
    columns = {"this checkout": figures(ROOT)}
    if args.against:
        columns = {str(args.against): figures(args.against.resolve()), **columns}
    names = list(next(iter(columns.values())))
    rows = [[name, *(column[name] for column in columns.values())] for name in names]
    print(markdown(["figure", *columns], rows))


if __name__ == "__main__":
    main()
