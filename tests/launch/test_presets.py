"""Every flag that a preset, the launch README or a dry run names is one of SGLang's or of ours,
spelled in full."""

import argparse
import shlex
from pathlib import Path

import pytest

from launch import ROOT
from launch.bench.plan import Plan
from launch.presets import table
from sglang_soft.launch_server import BUNDLED_MODEL, build_parser

pytestmark = pytest.mark.slow  # SGLang's parser is imported

README = ROOT / "launch" / "README.md"
PREFIX = "python -m sglang_soft.launch_server "
LINES = [shlex.join(preset.command()) for preset in table.PRESETS] + [
    line.strip() for line in README.read_text().splitlines() if line.strip().startswith(PREFIX)
]


@pytest.fixture(scope="module")
def sglang_parser() -> argparse.ArgumentParser:
    from sglang.srt.server_args import ServerArgs

    # Without allow_abbrev=False the parser would take a shortened name, which the next release may
    # make ambiguous.
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    ServerArgs.add_cli_args(parser)
    return parser


def test_the_readme_has_commands():
    assert len(LINES) >= len(table.PRESETS) + 5


@pytest.mark.parametrize("line", dict.fromkeys(LINES))
def test_flags(sglang_parser, line):
    _, rest = build_parser().parse_known_args(shlex.split(line)[3:])
    if "--model-path" not in rest:
        rest += ["--model-path", str(BUNDLED_MODEL)]  # as the server does
    args = sglang_parser.parse_args(rest)
    assert args.model_path and args.pp_size == 1
    if "--model-path" in line:
        assert args.attention_backend == "flashinfer" and args.reasoning_parser


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_engine_arguments_of_bench_gpu(sglang_parser, device):
    plan = Plan("qwq-32b", [1, 8], 16, device, True, [])
    known = {action.dest for action in sglang_parser._actions}
    assert plan.engine(Path("model")).keys() <= known


def test_unknown_preset_is_named():
    with pytest.raises(ValueError, match="qwq-33b.*qwq-32b-h200"):
        table.find("qwq-33b")
