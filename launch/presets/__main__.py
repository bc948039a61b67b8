"""Server arguments by model and hardware.

python -m launch.presets         names, models and hardware
python -m launch.presets NAME    the command, ready to run
"""

import argparse
import shlex

from launch.presets.table import PRESETS, find


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m launch.presets",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", default="list", metavar="list|NAME")
    name = parser.parse_args().name
    if name == "list":
        for preset in PRESETS:
            print(f"{preset.name:20}{preset.model or 'bundled model':44}{preset.hardware}")
        return
    try:
        print(shlex.join(find(name).command()))
    except ValueError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
