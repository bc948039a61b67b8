"""`make pictures`: the pictures of README and docs, of one server with the bundled model.

    python -m launch.pictures [--out docs/img] [--url http://127.0.0.1:30000]

docs/img/thought.png and .pdf: the figure of the thought of "43*34". page-light.png, page-dark.png
and page-phone.png: the live page, where there is a Chromium.
"""

import argparse
import contextlib
from pathlib import Path

from launch import ROOT
from launch.demo import QUESTION, SOFT_THINKING
from launch.pictures import page
from sglang_soft.client import Client
from sglang_soft.server.process import Server
from sglang_soft.view import figure, sources

SEED = 34


def thought(url: str, out: Path) -> list[Path]:
    """The figure, as two files."""
    with Client(url) as client:
        answer = client.ask(
            QUESTION, temperature=0.6, top_p=0.95, seed=SEED, soft=SOFT_THINKING["bundled"]
        )
        assert answer.trace is not None
        drawn = figure.cells(answer.trace)
        made = figure.draw(drawn, sources.OfServer(client).texts, columns=15, title=QUESTION)
    files = [out / f"thought{suffix}" for suffix in figure.SUFFIXES]
    for file in files:
        figure.save(made, file)
    return files


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "img", metavar="DIR")
    parser.add_argument("--url", help="a running server with --soft-view (default: start one)")
    args = parser.parse_args()
    server = None if args.url else Server(["--soft-view", "--log-level", "warning"])
    with contextlib.nullcontext() if server is None else server:
        url = args.url or server.url
        files = thought(url, args.out)
        try:
            files += page.screenshots(args.out, url)
        except RuntimeError as error:
            print(f"no pictures of the page: {error}")
    for file in files:
        print(file)


if __name__ == "__main__":
    main()
