"""`sglang-soft`: explain the plugin from its own tables.

sglang-soft params      the request parameters of Soft Thinking that every method has
sglang-soft methods     the thinking methods, and each one's own parameters
sglang-soft hooks       every hook on SGLang: target, kind, why, and when it can be deleted
sglang-soft eval ...    compare methods on a benchmark (extra: evals)
"""

import argparse
import importlib.util
import sys
from collections.abc import Sequence


def markdown(rows: Sequence[dict[str, str]]) -> str:
    """A Markdown table of rows that share their keys."""
    header = list(rows[0])
    lines = [header, ["---"] * len(header), *([row[key] for key in header] for row in rows)]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def params_table() -> str:
    from sglang_soft import params

    return markdown(params.table())


def methods_table() -> str:
    from sglang_soft import params

    rows, own = [], []
    for m in params.methods_table():
        defaults = ", ".join(f"{key} {value}" for key, value in m["defaults"].items())
        rows.append(
            {
                "method": f"`{m['method']}`",
                "feeds": m["feeds"],
                "other defaults": defaults,
                "seeded": "yes" if m["random"] else "",
                "source": m["source"],
            }
        )
        own += [{"method": f"`{m['method']}`", **row} for row in m["parameters"]]
    return f"{markdown(rows)}\n\n{markdown(own)}"


def hooks_table() -> str:
    from sglang_soft.ledger import RECORDS

    return markdown(
        [
            {
                "target": f"`{r.target.removeprefix('sglang.srt.')}`",
                "kind": r.kind,
                "why": r.why,
                "until": r.until,
            }
            for r in RECORDS
        ]
    )


_TABLES = {"params": params_table, "methods": methods_table, "hooks": hooks_table}


def evaluate(argv: Sequence[str]) -> None:
    """Hand over to the evals, which are an extra."""
    if (
        importlib.util.find_spec("sgl_eval") is None
        or importlib.util.find_spec("sglang_soft_evals") is None
    ):
        raise SystemExit(
            'error: `sglang-soft eval` needs the extra: pip install "sglang-soft[evals]"'
        )
    from sglang_soft_evals import cli

    cli.main(argv)


def main(argv: Sequence[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["eval"]:
        return evaluate(argv[1:])
    parser = argparse.ArgumentParser(prog="sglang-soft", description=__doc__.splitlines()[0])
    parser.add_argument(
        "table", choices=_TABLES, help="the table to print; `sglang-soft eval --help`: the evals"
    )
    print(_TABLES[parser.parse_args(argv).table]())


if __name__ == "__main__":
    main()
