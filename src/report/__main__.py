"""The entry: `python -m src.report [run or sweep folders…]` turns records into one page to decide from, offline."""

import argparse
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from src.common.errors import BAD_INPUT, UserError
from src.record.left_out import by_reason
from src.statistics import MOST_LOOKS


def main(arguments: Sequence[str] | None = None) -> int:
    """Read, judge, write; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m src.report",
        description="Turn the records of runs and sweeps into one page to decide from: index.html, report.md, figures, tables.",
    )
    parser.add_argument("folders", nargs="*", type=Path, help="run or sweep folders, or folders that hold some (default: outputs)")
    parser.add_argument("--output", type=Path, default=Path("report"), help="folder to write to (default: report)")
    parser.add_argument(
        "--looks", type=int, default=1, choices=range(1, MOST_LOOKS + 1), metavar="N",
        help="how often verdicts are read, seeds being added in between because of what they say (default: 1)",
    )  # fmt: skip
    parser.add_argument("--serve", action="store_true", help="show the page while runs and sweeps go on, until Ctrl-C")
    parser.add_argument("--host", default="127.0.0.1", help="for --serve: where to listen (default: this machine alone)")
    parser.add_argument("--port", type=int, default=8765, help="for --serve (default: 8765)")
    parser.add_argument("--plan", action="store_true", help="only say what finding 2 points would take and cost, from these records")
    parser.add_argument("--wandb", action="store_true", help="also make the report on Weights & Biases")
    parser.add_argument("--wandb-project", help="ENTITY/PROJECT of the W&B report (default: that of the runs)")
    options = parser.parse_args(arguments)
    try:
        return report(options.folders or [Path("outputs")], options)
    except UserError as error:
        print(f"error: {'--plan: ' * options.plan}{error}", file=sys.stderr)
        return BAD_INPUT


def report(folders: Sequence[Path], options: argparse.Namespace) -> int:
    """As asked. Raises UserError."""
    from src.report.analysis import analyse
    from src.report.page import write_report

    if options.serve:
        from src.report.serve import serve

        write = lambda state: write_report(analyse(folders, options.looks), options.output, live=state)
        return serve(folders, options.output, (options.host, options.port), write)
    analysis = analyse(folders, options.looks)
    for named, reason in by_reason((*analysis.left_out, *analysis.unfinished)):
        print(f"left out: {named}: {reason}", file=sys.stderr)
    if not (analysis.runs or analysis.sweeps or analysis.models):
        raise UserError(f"nothing to report in {', '.join(map(str, folders))}; name run or sweep folders")
    if options.plan:
        from src.report.price import priced

        print(*(f"{about}: {line}" for about, line in priced(analysis).items()), sep="\n")
        return 0
    try:
        page = write_report(analysis, options.output)
    except OSError as error:
        raise UserError(f"cannot write {options.output} ({error.strerror}); choose another with --output") from error
    print(analysis.answer)
    for heading, words in analysis.sentences:
        print(heading, *words, sep="\n  ")
    print(f"report: {page}")
    if options.wandb:
        from src.report.wandb_report import publish

        print(publish(analysis, options.wandb_project))
    return 0


def leave(status: int) -> None:
    """End the process, also where W&B's client still waits for its server: at exit it would for ten seconds more."""
    sys.stdout.flush()
    if any(thread.name == "wandb-report" for thread in threading.enumerate()):
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    leave(main())
