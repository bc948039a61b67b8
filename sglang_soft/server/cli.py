"""`sglang-soft`: explain the plugin from its own tables.

sglang-soft settings    the flags and environment variables of a server
sglang-soft params      the request parameters of Soft Thinking that every method has
sglang-soft presets     parameters as they were published for a model, by name
sglang-soft methods     the thinking methods, and each one's own parameters
sglang-soft stops       the stopping rules, and each one's parameters
sglang-soft hooks       every change made to SGLang: target, kind, why, and when it can go
sglang-soft ask ...     ask a running server, and see the thought as it comes
sglang-soft verify ...  compare a trace, step by step, with a Hugging Face model or a server
sglang-soft trace ...   a trace as a page (view), or as a figure
sglang-soft eval ...    compare methods on a benchmark (extra: evals)
"""

import argparse
import importlib.util
import os
import sys
from collections.abc import Sequence

from sglang_soft.server import markdown


def params_table() -> str:
    from sglang_soft import resolve

    return markdown.table(resolve.table())


def presets_table() -> str:
    from sglang_soft import presets

    return markdown.table(presets.table())


def methods_table() -> str:
    from sglang_soft import resolve

    rows, own = [], []
    for m in resolve.methods_table():
        defaults = ", ".join(f"{key} {value}" for key, value in m["defaults"].items())
        rows.append(
            {
                "method": f"`{m['method']}`",
                "feeds": m["feeds"],
                "other defaults": defaults,
                "seeded": "yes" if m["stochastic"] else "",
                "source": m["source"],
            }
        )
        own += [{"method": f"`{m['method']}`", **row} for row in m["parameters"]]
    return f"{markdown.table(rows)}\n\n{markdown.table(own)}"


def stops_table() -> str:
    from sglang_soft import resolve

    rows, own = [], []
    for rule in resolve.stop_rules_table():
        name = f"`{rule['rule']}`"
        rows.append({"rule": name, "stops": rule["stops"], "source": rule["source"]})
        parts = [{k: v for k, v in row.items() if k != "alias"} for row in rule["parameters"]]
        own += [{"rule": name, **row} for row in parts]
    return f"{markdown.table(rows)}\n\n{markdown.table(own)}"


def hooks_table() -> str:
    from sglang_soft.hooks.registry import HOOKS

    return markdown.table(
        [
            {
                "target": f"`{r.target.removeprefix('sglang.srt.')}`",
                "kind": r.kind,
                "why": r.why,
                "until": r.until,
            }
            for r in HOOKS
        ]
    )


def settings_table() -> str:
    from sglang_soft.server import settings

    return markdown.table(settings.table())


_TABLES = {
    "settings": settings_table,
    "params": params_table,
    "presets": presets_table,
    "methods": methods_table,
    "stops": stops_table,
    "hooks": hooks_table,
}


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
    try:
        run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except BrokenPipeError:  # such as `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


def run(argv: Sequence[str]) -> None:
    if argv[:1] == ["eval"]:
        return evaluate(argv[1:])
    if argv[:1] == ["ask"]:
        from sglang_soft.terminal import command as terminal

        raise SystemExit(terminal.main(argv[1:]))
    if argv[:1] == ["verify"]:
        from sglang_soft.verify import command

        return command.main(argv[1:])
    if argv[:1] == ["trace"]:
        from sglang_soft.view import command as trace_command

        return trace_command.main(argv[1:])
    parser = argparse.ArgumentParser(
        prog="sglang-soft", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("table", choices=_TABLES, help="the table to print")
    print(_TABLES[parser.parse_args(argv).table]())


if __name__ == "__main__":
    main()
