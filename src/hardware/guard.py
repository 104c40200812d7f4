"""Stands over a command and ends it, with all it started, when its owner is gone:
`python -m src.hardware.guard <seconds> <command>`.

The owner holds the other end of standard input. When that closes, because the owner closed it or died of whatever, the
command and its descendants get SIGTERM, and SIGKILL after so many seconds.
"""

import os
import select
import signal
import subprocess
import sys

from src.hardware.processes import TICK_S, adopt_orphans, end_children


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stay)  # it goes when its owner lets go
    adopt_orphans()
    command = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL)
    while command.poll() is None:
        if select.select([sys.stdin], [], [], TICK_S)[0] and not os.read(sys.stdin.fileno(), 1):
            break
    end_children(signal.SIGTERM, float(sys.argv[1]))
    sys.exit(command.returncode or 0)


def _stay(number: int, frame) -> None:
    """Not SIG_IGN, which the command would inherit."""


if __name__ == "__main__":
    main()
