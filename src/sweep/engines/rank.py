"""One of the training processes of a trial that has several: `python -m src.sweep.engines.rank`, started by the trial's own.

What it has to know comes on standard input. It lives as long as the run of one seed; rank 0 reports to the sweeper.
"""

import json
import sys
from pathlib import Path

from src.common.errors import BAD_INPUT, FAILED, INTERRUPTED, RunFailed, UserError
from src.common.pace import HANGS, PACE
from src.common.secrets import redacted
from src.hardware.ranks import failure_noted


def main() -> None:
    with failure_noted():  # before the imports, which take seconds
        given = json.load(sys.stdin)

        from src.config.tree import parse
        from src.experiment.run import run
        from src.sweep.engines.channel import Channel
        from src.sweep.engines.trial import Reporter, TrialSpec

        spec, config = TrialSpec(**given["spec"]), parse(given["config"])
        PACE.least_s = HANGS * spec.heartbeat_s
        reporter = Reporter(spec, Channel(Path(spec.control)), given["place"], given["earlier"])
        try:
            summary = run(config, watches=[reporter.watch])
        except (UserError, RunFailed) as error:
            print(redacted(f"error: {error}"), file=sys.stderr)
            sys.exit(BAD_INPUT if isinstance(error, UserError) else FAILED)
        if summary["status"] == "interrupted":
            sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
