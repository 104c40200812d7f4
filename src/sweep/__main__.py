"""The entry: `python -m src.sweep results <folder>` writes a sweep's results anew from its storage, whatever became of it."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from src.common.errors import BAD_INPUT, UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the storage and write the tables; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m src.sweep", description=__doc__)
    parser.add_argument("what", choices=["results"])
    parser.add_argument("folder", type=Path, help="of a sweep, such as outputs/sweeps/mix_length")
    options = parser.parse_args(arguments)

    from src.sweep.results import write_results_anew

    try:
        summary = write_results_anew(options.folder)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    print(f"{options.folder}: results of {sum(summary['trials'].values())} trials written anew")
    return 0


if __name__ == "__main__":
    sys.exit(main())
