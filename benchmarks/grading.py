"""Throughput of the grader beside TRL's `accuracy_reward`, on the same completions in the same run.

    python benchmarks/grading.py [--prompts 100] [--samples 6] [--batches 5] [--workers 2] [--characters 12000]

The prompts are dealt out into batches, as in training, and TRL and the grader grade each batch in turn. No prompt comes
twice, so nothing is gained from one batch to the next but from answers that different prompts share; within a batch
equal work is done once. The table says how much that is; with `--samples 1` there is hardly any. A first batch of other
prompts is given apart: in it the workers start, and on both sides math-verify's parser builds its tables.

Completions are seeded reasoning texts that end right in the gold answer's spelling, right in another spelling, right
after an earlier box, wrong, without a box, or cut off.
"""

import argparse
import logging
import random
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from src.common.types import Verdict
from src.grading.extraction import box
from src.grading.grader import Grader, verdict_or_work
from src.grading.judging import Work

REAL = ROOT.parent / "shared" / "data"
FIRST_PROMPTS = 400  # with one completion each
GOLDS = [
    *(10, 3, -2, 45, 204, 2016, 0, 9, 17, 64, 120, 1, 7, 25, 36, 5040, 11, 343, 12, 8, 13, 100, 72, 60, 28),
    *(r"\frac{3}{4}", r"\frac{14}{3}", r"-\frac{1}{2}", r"\frac{\pi}{6}", r"\frac{\sqrt{3}}{3}", r"3\sqrt{13}", "2.5"),
    *(r"2 + 2\sqrt{7}", r"90^\circ", r"\left( 3, \frac{\pi}{2} \right)", "(2,-1)", "[-2,7]", r"x \in [-2,7]", "1, -2"),
    *(r"(-\infty, 2) \cup (3, \infty)", "6 - 5i", "p - q", "x^3 + 3x - 6", "y = 2x + 3", r"\text{Evelyn}", "52_8"),
]
SENTENCES = {
    "Let $x_{%d} = \\frac{%d}{%d}$; substituting this into the equation leaves one unknown.": 4,
    "Hmm, wait. If \\( a = %d \\) then \\( a^2 + %d = %d \\), so that case is ruled out.": 4,
    "So far:\n\\[\ny = \\sqrt{%d} + %d \\cdot %d\n\\]\nwhich is consistent with the picture.": 3,
    "Let me check this once more with small numbers: %d, %d and %d.": 3,
    "Therefore $%d k + %d = 0$ has no solution modulo %d.": 3,
    "But is the answer $%d$? The problem asks for the sum, and that is not %d but %d.": 1,
    "That would make the answer too large: the product of %d and %d is already above %d.": 1,
}
KINDS = {"same spelling": 40, "other spelling": 15, "boxed twice": 10, "wrong": 20, "no box": 5, "cut off": 10}


Seconds = dict[str, list[float]]
Verdicts = dict[str, list[bool]]


class Completion(NamedTuple):
    kind: str  # one of KINDS
    text: str
    gold: str


def reasoning(characters: int, rng: random.Random) -> str:
    """Lines of text of about this length."""
    lines: list[str] = []
    while (characters := characters - len(lines[-1]) if lines else characters) > 0:
        sentence = rng.choices(list(SENTENCES), list(SENTENCES.values()))[0]
        lines.append(sentence % tuple(rng.randint(2, 99) for _ in range(3)) + "\n")
    return "".join(lines)


def respelled(gold: str) -> str:
    """The same answer written in another way."""
    if gold.lstrip("-").isdigit():
        return f"x = {gold}"
    other = gold.replace(r"\frac", r"\dfrac").replace(r"\left", "").replace(r"\right", "")
    return other if other != gold else re.sub(r"(?<=[\w)}])([-+,])(?=[\w(\\])", r" \1 ", gold)


def missed(gold: str, rng: random.Random) -> str:
    """A wrong answer: the gold answer with one of its digits changed, or another answer if it has none."""
    places = [place for place, letter in enumerate(gold) if letter.isdigit()]
    if not places:
        return str(rng.randint(2, 99))
    place = rng.choice(places)
    return gold[:place] + str((int(gold[place]) + rng.randint(1, 8)) % 10) + gold[place + 1 :]


def completion(gold: str, characters: int, rng: random.Random) -> Completion:
    """One completion of about `characters`, right in 7 of 10 cases."""
    kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
    answer = {"other spelling": respelled(gold), "wrong": missed(gold, rng)}.get(kind, gold)
    thought = reasoning(characters - 600, rng)
    if kind == "cut off":
        return Completion(kind, f"<think>\n{thought}", gold)
    if kind == "boxed twice":
        thought += f"So I would say {box(gold)}, but let me look at the problem again.\n{reasoning(500, rng)}"
    ending = f"So it is ${answer}$." if kind == "no box" else f"The final result is\n\\[\n{box(answer)}\n\\]"
    return Completion(kind, f"<think>\n{thought}</think>\n\n{reasoning(600, rng)}{ending}", gold)


def by_trl(items: Sequence[Completion], wrap: Callable[[str], str]) -> list[bool]:
    from trl.rewards import accuracy_reward

    rewards = accuracy_reward([[{"content": item.text}] for item in items], [wrap(item.gold) for item in items])
    return [reward == 1.0 for reward in rewards]  # None: TRL cannot read the gold answer


def by_grader(items: Sequence[Completion], grader: Grader) -> list[bool]:
    verdicts = grader.grade([item.text for item in items], [item.gold for item in items])
    return [verdict.correct for verdict in verdicts]


def measure(batches: Sequence[Sequence[Completion]], workers: int) -> tuple[Seconds, Verdicts]:
    """Seconds for each batch, and all verdicts, for each side."""
    seconds: Seconds = {}
    verdicts: Verdicts = {}
    with Grader(workers=workers) as grader:
        sides: dict[str, Callable[[Sequence[Completion]], list[bool]]] = {
            "TRL, gold as it is": lambda items: by_trl(items, str),
            "TRL, gold boxed": lambda items: by_trl(items, box),
            "grader": lambda items: by_grader(items, grader),
        }
        for batch in batches:
            for name, grade in sides.items():
                start = time.perf_counter()
                verdicts.setdefault(name, []).extend(grade(batch))
                seconds.setdefault(name, []).append(time.perf_counter() - start)
    return seconds, verdicts


def print_throughput(batches: Sequence[Sequence[Completion]], seconds: Seconds) -> None:
    rates = {name: [len(batch) / s for batch, s in zip(batches, values, strict=True)] for name, values in seconds.items()}
    medians = {name: statistics.median(values[1:]) for name, values in rates.items()}
    print(f"{'completions/s':20} {'median':>8}   {'first batch':>12}   later batches")
    for name, (first, *later) in rates.items():
        print(f"{name:20} {medians[name]:8,.0f}   {first:12,.0f}   {', '.join(f'{rate:,.0f}' for rate in later)}")
    grader = medians.pop("grader")
    print(f"the grader's throughput is {grader / max(medians.values()):.1f} times that of the faster TRL")


def print_shares(batches: Sequence[Sequence[Completion]]) -> None:
    """What became of the later batches' completions: how many a worker had to judge, and why not the others."""
    counts: Counter[str] = Counter()
    seen: set[Work] = set()
    for number, batch in enumerate(batches):
        found = [verdict_or_work(item.text, item.gold) for item in batch]
        work = [item for item in found if not isinstance(item, Verdict)]
        if number:
            counts["decided at once (integers, no answer)"] += len(batch) - len(work)
            counts["equal to another of its batch"] += len(work) - len(set(work))
            counts["equal to one of an earlier batch"] += len(set(work) & seen)
            counts["judged"] += len(set(work) - seen)
            counts["of these on the whole text"] += sum(len(text or "") > 2000 for text, _ in set(work) - seen)
        seen.update(work)
    total = sum(map(len, batches[1:]))
    print(", ".join(f"{name} {count / total:.0%}" for name, count in counts.items()))


def print_differences(name: str, items: Sequence[Completion], theirs: Sequence[bool], ours: Sequence[bool]) -> None:
    differing = [(item, our) for item, their, our in zip(items, theirs, ours, strict=True) if their != our]
    right = sum(our for _, our in differing)
    print(f"verdicts that differ from {name}: {len(differing)} of {len(items)}, {right} of them right by the grader only")
    for gold, count in Counter(item.gold for item, _ in differing).most_common(5):
        print(f"  {count} with the gold answer {gold}")


def gold_answers(name: str, count: int, rng: random.Random) -> list[str]:
    """So many gold answers of a file of real problems, or of the list above where that file is absent."""
    path = REAL / f"{name}.parquet"
    if not path.exists():
        return [str(rng.choice(GOLDS)) for _ in range(count)]
    import pandas as pd

    golds = [row["ground_truth"] for row in pd.read_parquet(path)["reward_model"]]
    return rng.sample(golds, min(count, len(golds)))


def make_batches(options: argparse.Namespace) -> list[list[Completion]]:
    """The first batch, and those that count."""
    rng = random.Random(options.seed)
    first = [completion(gold, options.characters, rng) for gold in gold_answers("guru_math_5120", FIRST_PROMPTS, rng)]
    golds = gold_answers("math_500", options.prompts * options.batches, rng)
    return [first] + [
        [completion(gold, options.characters, rng) for gold in part for _ in range(options.samples)]
        for part in (golds[start : start + options.prompts] for start in range(0, len(golds), options.prompts))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    defaults = {"prompts": 100, "samples": 6, "batches": 5, "workers": 2, "characters": 12_000, "seed": 0}
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default {default}")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    import trl.rewards  # noqa: F401  (its import is no part of the first batch)

    batches = make_batches(options)
    items = [item for batch in batches for item in batch]
    print(
        f"{len(batches) - 1} batches of {options.prompts} prompts with {options.samples} completions of "
        f"{statistics.mean(len(item.text) for item in items):,.0f} characters; gold answers: "
        f"{'MATH-500' if REAL.exists() else 'built-in list'}; {options.workers} workers"
    )
    seconds, verdicts = measure(batches, options.workers)
    print_throughput(batches, seconds)
    print_shares(batches)
    for name in ("TRL, gold boxed", "TRL, gold as it is"):
        print_differences(name, items, verdicts[name], verdicts["grader"])


if __name__ == "__main__":
    main()
