"""The entry: `python -m src.curate <curation> [key=value ...]` goes from raw problems to the pools of a run."""

import argparse
import shlex
import signal
import sys
from collections.abc import Sequence

from src.common.errors import BAD_INPUT, INTERRUPTED, UserError
from src.curate.config import load_config, shipped


def main(arguments: Sequence[str] | None = None) -> int:
    """Curate and write the card; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m src.curate",
        description="From raw problems to the pools of a run: read, drop duplicates and overlap with the evaluation "
        "suites, measure difficulty, filter, draw. Finished steps are taken as they are when the same command is given again.",
    )
    parser.add_argument("curation", help=f"a YAML file, or one that is shipped: {', '.join(shipped())}")
    parser.add_argument("overrides", nargs="*", help="such as draw.seed=1 or output=curated/mine; duplicates=null leaves a step out")
    options = parser.parse_args(arguments)
    command = shlex.join(["python", "-m", "src.curate", options.curation, *options.overrides])
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what Slurm sends ends a curation as Ctrl-C does
    try:
        config = load_config(options.curation, options.overrides)
        from src.common.screen import Screen
        from src.curate.card import write_card
        from src.curate.pipeline import curate

        screen = Screen()
        steps = curate(config, screen)
        screen.note(f"card: {write_card(config, steps, command)}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted; finished steps stay, give the same command again to go on", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
