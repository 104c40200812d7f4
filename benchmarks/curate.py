"""What curation finds and what it costs.

    python benchmarks/curate.py [--problems 50000] [--data FOLDER] [--minutes 3] [--gigabytes 2]

First: problems of a suite are planted with small changes, and looked for; the table gives the share that is found, and
the false alarms on problems that are not in the suite and on ones of which a single number was changed. Then: a volume
of problems goes through steps 1 to 3 (read and grade the gold answers, duplicates, overlap) in a process of its own,
with its time and the largest sum of memory over it and its grading workers; and, to compare with, a tenth of the
volume, since memory should not grow with it.

The folder holds guru_math_5120.parquet and math_500.parquet; without it, problems are generated. The volume is made
from them: each again and again with other numbers, one in twenty a copy with small changes, one in a hundred from the
suite.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.perturb import CHANGES, make_problems, renumbered, sibling
from src.curate.config import load_config
from src.curate.overlap import OverlapConfig, SuiteIndex, load_suites
from src.curate.store import Candidate

Problem = tuple[str, str]  # question and gold answer
COPIES, PLANTED = 0.05, 0.01  # shares of the volume
GENERATED = 5_000
STEPS = ("read", "duplicates", "overlap")


def problems_of(folder: Path) -> tuple[list[Problem], list[Problem], str]:
    """Problems to curate, suite problems, and what they are."""
    if not (folder / "guru_math_5120.parquet").is_file():
        rng = random.Random(0)
        made = [(question, str(rng.randint(1, 999))) for question in make_problems(GENERATED + 500, rng)]
        return made[500:], made[:500], "generated"
    config = load_config("guru", [f"data={folder}"])
    suite = load_suites(config.overlap.model_copy(update={"suites": {"s": config.overlap.suites["math_500"]}}))["s"]
    pool = config.read.sources["guru"].load("guru").problems
    return [(p.question, p.answer) for p in pool], [(c.question, c.answer) for c in suite], "GURU and MATH-500"


def index_of(suite: list[Problem]) -> SuiteIndex:
    config = OverlapConfig(suites={"none": {"loader": "micro", "role": "chains", "count": 1, "seed": 0}})
    problems = [Candidate(str(n), q, a, "hard", None, None, None, None, "suite", "") for n, (q, a) in enumerate(suite)]
    return SuiteIndex(config, {"suite": problems})


def print_found(problems: list[Problem], suite: list[Problem]) -> bool:
    """The shares found and falsely alarmed; whether they are as they should be."""
    index, found, total = index_of(suite), 0, 0
    for name, change in CHANGES.items():
        changed = [(n, text) for n, (q, _) in enumerate(suite) if (text := change(q, random.Random(n))) != q]
        hits = sum((twin := index.twin(text)) is not None and twin.problem.id == str(n) for n, text in changed)
        print(f"  {name:14} found {hits / len(changed):6.1%} of {len(changed)}")
        found, total = found + hits, total + len(changed)
    print(f"  {'all':14} found {found / total:6.1%} of {total}")
    siblings = [text for n, (q, _) in enumerate(suite) if (text := sibling(q, random.Random(n))) != q]
    flagged = sum(index.twin(text) is not None for text in siblings)
    alarms = sum(index.twin(question) is not None for question, _ in problems)
    print(f"  alarms on {len(problems)} other problems {alarms / len(problems):.2%} (real overlaps among them)")
    print(f"  alarms on {len(siblings)} suite problems with one other number {flagged / len(siblings):.2%}")
    return found / total >= 0.95 and alarms / len(problems) < 0.005


def volume(problems: list[Problem], suite: list[Problem], count: int, rng: random.Random) -> Iterator[Problem]:
    """So many problems: originals, then others of their templates, with copies and suite problems among them."""
    changes = list(CHANGES.values())
    for number in range(count):
        kind = rng.random()
        question, answer = problems[number % len(problems)]
        if kind < PLANTED:
            question, answer = rng.choice(suite)
            yield rng.choice(changes)(question, rng), answer
        elif kind < PLANTED + COPIES:
            question, answer = rng.choice(problems)
            yield rng.choice(changes)(question, rng), answer
        elif number < len(problems):
            yield question, answer
        else:
            yield renumbered(question, rng), renumbered(answer, rng)


def write(path: Path, problems: Iterator[Problem] | list[Problem]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for question, answer in problems:
            file.write(json.dumps({"problem": question, "answer": answer}) + "\n")


def curation(folder: Path) -> Path:
    source = {"loader": "file", "level": "hard", "columns": {"question": "problem", "answer": "answer"}}
    config = {
        "output": str(folder / "out"),
        "read": {"sources": {"raw": source | {"path": str(folder / "raw.jsonl")}}, "grading_workers": 2},
        "duplicates": {},
        "overlap": {"suites": {"suite": source | {"path": str(folder / "suite.jsonl")}}},
        "difficulty": None,
        "filter": None,
        "draw": None,
    }
    (folder / "curation.yaml").write_text(json.dumps(config))
    return folder / "curation.yaml"


def resident_bytes(pid: int) -> int:
    """Of a process and all its descendants; pages that they share are divided among them (Linux)."""
    total = 0
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += sum(map(resident_bytes, map(int, (task / "children").read_text().split())))
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        pass
    return total


def run(problems: list[Problem], suite: list[Problem], count: int) -> tuple[float, float]:
    """Seconds and the peak in gigabytes of steps 1 to 3 on so many problems; prints the funnel."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "raw.jsonl", volume(problems, suite, count, random.Random(1)))
        write(folder / "suite.jsonl", suite)
        command = [sys.executable, "-m", "src.curate", str(curation(folder))]
        started, peak = time.perf_counter(), 0
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        output: list[str] = []
        reader = threading.Thread(target=lambda: output.extend(process.stdout))
        reader.start()
        while process.poll() is None:
            peak = max(peak, resident_bytes(process.pid))
            time.sleep(0.2)
        seconds = time.perf_counter() - started
        reader.join()
        print("".join(f"    {line}" for line in output), end="")
        if process.returncode:
            sys.exit("the curation failed")
        steps = [json.loads(next((folder / "out").glob(f"*_{step}/step.json")).read_text()) for step in STEPS]
        print("    seconds: " + ", ".join(f"{name} {step['seconds']}" for name, step in zip(STEPS, steps, strict=True)))
    return seconds, peak / 1e9


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=50_000)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--minutes", type=float, default=3.0, help="allowed for the volume")
    parser.add_argument("--gigabytes", type=float, default=2.0, help="allowed for the volume")
    options = parser.parse_args()
    problems, suite, what = problems_of(options.data)
    print(f"planted suite problems ({what}):")
    found = print_found(problems, suite)
    results = {}
    for count in (options.problems // 10, options.problems):
        print(f"steps 1 to 3 on {count:,} problems:")
        results[count] = seconds, peak = run(problems, suite, count)
        print(f"  {seconds:.0f} s, {count / seconds:,.0f} problems/s, {peak:.2f} GB at the peak")
    seconds, peak = results[options.problems]
    kept = {"found": found, "time": seconds <= 60 * options.minutes, "memory": peak <= options.gigabytes}
    print("; ".join(f"{name}: {'kept' if held else 'MISSED'}" for name, held in kept.items()))
    return 0 if all(kept.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
