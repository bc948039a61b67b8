"""Which step of a thought decides its answer? (`make counterfactual`)

    python -m launch.counterfactual [--url URL] [--question "What is 43*34?" --right 1462]

Thinks once, then leaves out and changes each step in turn (`Trace.cut`, `Trace.edit`), goes on, and
prints how often the answer is still right. Without --url it serves the bundled model itself. Writes
counterfactual.json and counterfactual.png.
"""

import argparse
import json
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from launch import ROOT
from launch.counterfactual.asking import Asked
from launch.counterfactual.measure import (
    CHANGES,
    UNCHANGED,
    Found,
    deciding,
    first_known,
    interval,
    measure,
)
from launch.counterfactual.picture import draw
from sglang_soft.server.process import Server

N = 16


def shown(token: str) -> str:
    """In a cell of a table."""
    text = token.replace("\n", "\\n").replace(" ", "\u2423").replace("|", "\\|")
    return f"`{text}`"


def table(found: Found) -> str:
    """Steps at which a change matters, and those with a second candidate of some weight; changes
    that matter somewhere."""
    steps = {s for change in CHANGES for s in deciding(found, change)}
    steps |= {s for s, rows in enumerate(found.candidates) if rows[1][1] > 0.05}
    changes = [c for c in CHANGES if deciding(found, c)]
    names = ["step", "candidates", "known", *changes]
    lines = [names, ["---"] * len(names)]
    for step in sorted(steps):
        named = ", ".join(f"{shown(t)} {w:.2g}" for t, w in found.candidates[step])
        cells = [str(step), named, f"{found.known[step + 1]:.2f}"]
        lines.append(cells + [_cell(found, change, step) for change in changes])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _cell(found: Found, change: str, step: int) -> str:
    hits, soft = found.drawn[change][step], found.soft[change][step]
    low, high = interval(hits, found.n)
    return f"{hits} [{low:.2f}, {high:.2f}] {'right' if soft else 'wrong'}"


def page(found: Found) -> str:
    """What is printed."""
    count, known = len(found.tokens), first_known(found)
    lines = [
        f"{found.question} {count} thinking steps, answered with {found.answer.strip()!r}",
        found.thought,
        "",
        f"answered at once: P({found.right}) is {found.known[0]:.2f} before the first step, "
        f"{found.known[-1]:.2f} after the last one; it stays at 0.5 or more "
        + ("at no step" if known is None else f"after {known} steps"),
        "",
        table(found),
        "",
    ]
    for change in (UNCHANGED, *CHANGES):
        share = sum(found.drawn[change]) / (count * found.n)
        soft = sum(found.soft[change])
        line = f"{change}: right {share:.1%} of {count} x {found.n} drawn, {soft} of {count} soft"
        if change != UNCHANGED:
            steps = deciding(found, change)
            line += f"; fewer beyond doubt at {len(steps)} steps"
        lines.append(line)
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m launch.counterfactual", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--url", help="a server with the bundled model; default: start one")
    parser.add_argument("--api-key")
    parser.add_argument("--question", default="What is 43*34?", help="%(default)s")
    parser.add_argument("--right", default="1462", help="its answer (%(default)s)")
    parser.add_argument("-n", type=int, default=N, help="continuations to draw (%(default)s)")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "img", help="%(default)s")
    args = parser.parse_args(argv)
    if args.n < 1:
        parser.error(f"-n must be >= 1; got {args.n}.")
    server = None if args.url else Server(["--log-level", "warning"])
    try:
        with server or nullcontext():
            began = time.perf_counter()
            asked = Asked(args.url or server.url, args.api_key)
            found = measure(asked, args.question, args.right, args.n)
            seconds = time.perf_counter() - began
    except (RuntimeError, ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
    print(page(found))
    args.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found.to_json(), separators=(",", ":"))
    (args.out / "counterfactual.json").write_text(text + "\n")
    draw(found, args.out / "counterfactual.png")
    print(f"\n{seconds:.0f} s; wrote counterfactual.json and counterfactual.png")


if __name__ == "__main__":
    main()
