"""How long the report takes, and how much memory: `python -m benchmarks.report` (Linux).

Synthetic records of 500 steps and 1,000 evaluated problems each are written, then read by `python -m src.report` in a
process of its own; 25, 50 and 100 of them, so that growth with their number shows. Prints the table of docs/benchmarks.md.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.records import write_run

PROBLEMS, STEPS = 1000, 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[25, 50, 100])
    counts = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        records = Path(name) / "outputs"
        for number in range(max(counts)):
            write_run(
                records / f"run{number:03d}",
                seed=number % 2,
                settings={"mix.easy_share": (number // 2) / 50},
                gain=0.1 + 0.001 * number,
                problems=PROBLEMS,
                samples=4,
                steps=STEPS,
                suites=("chains",),
            )
        print("| runs | seconds | of the processor | peak memory | page |\n| ---: | ---: | ---: | ---: | ---: |")
        for count in counts:
            seconds, busy, memory, size = measure(
                [records / f"run{number:03d}" for number in range(count)], Path(name) / f"report{count}"
            )
            print(f"| {count} | {seconds:.1f} | {busy:.1f} | {memory / 2**20:.0f} MB | {size / 2**20:.1f} MB |", flush=True)


def measure(folders: list[Path], output: Path) -> tuple[float, float, int, int]:
    """Seconds, those of the processor, bytes of memory at the peak, and bytes of the page."""
    command = [sys.executable, "-m", "src.report", *map(str, folders), "--output", str(output)]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    if status:
        raise SystemExit(f"the report ended with status {status}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, (output / "index.html").stat().st_size


if __name__ == "__main__":
    main()
