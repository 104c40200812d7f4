"""The entry: `python -m src.scaling <sweep folder>` fits the scaling laws to a study's runs and tests their forecasts."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from src.common.errors import BAD_INPUT, UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Read, fit, write; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m src.scaling", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a sweep's folder, such as outputs/sweeps/scaling")
    parser.add_argument("--draws", type=int, default=1000, help="resamples behind each interval (default: 1000)")
    options = parser.parse_args(arguments)
    try:
        if options.draws < 100:
            raise UserError(f"--draws {options.draws} is too few for a 95 % interval; give 100 or more")
        return study(options.folder, options.draws)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT


def study(folder: Path, draws: int) -> int:
    """Analyse the runs in `folder` and print what came out."""
    from src.scaling.analysis import FOLDER, analyse, write
    from src.scaling.curves import read_studies

    studies, runs, left_out = read_studies(folder)
    for entry in left_out:
        print(f"left out: {entry.folder}: {entry.reason}", file=sys.stderr)
    analysed = analyse(studies, runs, draws, lambda words: print(words, flush=True))
    analysed.results["left_out"] = [{"folder": entry.folder, "reason": entry.reason} for entry in left_out]
    for note in analysed.results["notes"]:
        print(f"note: {note}", file=sys.stderr)
    if not analysed.results["laws"]["all"]:
        raise UserError(f"no curve in {folder} can be fitted; the notes above say why")
    path = write(analysed, folder / FOLDER)
    say(analysed.results)
    print(f"results: {path}")
    return 0


def say(results: dict) -> None:
    """The laws and the verdicts in a few lines."""
    from src.scaling.tables import shown

    for law in results["laws"]["all"]:
        if "k_max" in law:
            floor = f", L_inf {shown(law['floor']).text}" if "floor" in law else ""
            fit = f"K_max {shown(law['k_max']).text}, N0 {shown(law['n0']).text}{floor}"
            r2 = "" if law["r2_pooled"] is None else f"; R² {law['r2_pooled']:.4f} pooled over sizes"
            share = f", {share.text} of what an exactly true law would reach" if (share := shown(law.get("share_of_ceiling"))).text else ""
            print(f"{law['study']}, {law['x']}, {law['law']}: {fit}{r2}{share}")
    for each in results["comparisons"]:
        print(f"{each['study']}, {each['x']}: {each['first']} or {each['second']}: {each['verdict']}")


if __name__ == "__main__":
    sys.exit(main())
