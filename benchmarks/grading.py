"""Throughput of the grader beside TRL's `accuracy_reward`, on the same completions in the same run.

    python benchmarks/grading.py [--prompts 100] [--samples 6] [--batches 5] [--workers 2] [--characters 12000]

The prompts are dealt out into batches, as in training, and TRL and the grader grade each batch in turn. No prompt comes
twice, so nothing is gained from one batch to the next but from answers that different prompts share; within a batch
equal work is done once. The table says how much that is; with `--samples 1` there is hardly any. A first batch of other
prompts is given apart: in it the workers start, and on both sides math-verify's parser builds its tables.

Completions are seeded reasoning texts that end right in the gold answer's spelling, right in another spelling, right
after an earlier box, wrong, without a box, or cut off.

    python benchmarks/grading.py --verdicts [--pairs 3000] [--before CHECKOUT] [--sides NAMES] [--markdown FILE]

How many equal answers are rejected and wrong ones accepted, by form, over rewrites of real gold answers (see `rewrites.py`)
over pairs from the tests of other graders (`peers.tsv`), and over the examples of the rules: by the grader, by math-verify
alone, by TRL and as Open-R1 grades, and by the grader of another checkout. Each gold answer has the same chance to give a pair; without --pairs all of them are judged, which takes an
hour.

    python benchmarks/grading.py --programs 40

Answers a second where answers are short programs in their sandboxes, with 1, 2 and 4 workers.
"""

import argparse
import json
import logging
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from rewrites import Pair, pairs_of, peer_pairs

from src.common.types import Problem, Verdict
from src.grading.code import grade_programs
from src.grading.extraction import box
from src.grading.grader import Grader, verdict_or_work
from src.grading.judging import Work
from src.grading.rules import RULES

REAL = Path(os.environ.get("REAL_PROBLEMS", ROOT.parent / "shared" / "data"))
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


Judge = Callable[[Sequence[Pair]], list[bool]]
OTHER = """
import json, sys
sys.path.insert(0, sys.argv[1])
try:
    from src.grading.grader import Grader
except ImportError:  # before the folders of today
    from src.grading import Grader
if __name__ == "__main__":
    with open(sys.argv[2], encoding="utf-8") as file:
        golds, texts = json.load(file)
    with Grader(workers=int(sys.argv[3])) as grader:
        print(json.dumps([verdict.correct for verdict in grader.grade(texts, golds)]))
"""


def by_rules(rules: str, workers: int) -> Judge:
    def judge(pairs: Sequence[Pair]) -> list[bool]:
        with Grader(workers=workers, rules=rules) as grader:
            verdicts = grader.grade([box(pair.answer) for pair in pairs], [pair.gold for pair in pairs])
        return [verdict.correct for verdict in verdicts]

    return judge


def by_checkout(folder: str, workers: int) -> Judge:
    """The grader of another checkout, in a process of its own."""

    def judge(pairs: Sequence[Pair]) -> list[bool]:
        with tempfile.TemporaryDirectory() as place:
            script, content = Path(place) / "judge.py", Path(place) / "pairs.json"
            script.write_text(OTHER, encoding="utf-8")
            content.write_text(json.dumps([[p.gold for p in pairs], [box(p.answer) for p in pairs]]), encoding="utf-8")
            command = [sys.executable, str(script), folder, str(content), str(workers)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=folder, env={"PYTHONPATH": folder})
        return json.loads(done.stdout.splitlines()[-1])

    return judge


def by_math_verify(pairs: Sequence[Pair]) -> list[bool]:
    """math-verify with its defaults, the gold answer in a box."""
    from math_verify import parse, verify

    return [verify(parse(box(pair.gold)), parse(box(pair.answer))) for pair in pairs]


def by_accuracy_reward(pairs: Sequence[Pair]) -> list[bool]:
    return by_trl([Completion("", box(pair.answer), pair.gold) for pair in pairs], box)


def as_open_r1(pairs: Sequence[Pair]) -> list[bool]:
    """Settings of Open-R1's accuracy_reward, which gives 1 where it cannot read the gold answer."""
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse, verify

    normal = NormalizationConfig(nits=False, malformed_operators=False, basic_latex=True, boxed="all", units=True)
    config = LatexExtractionConfig(normalization_config=normal, boxed_match_priority=0, try_extract_without_anchor=False)
    verdicts = []
    for pair in pairs:
        gold = parse(f"${pair.gold}$", extraction_mode="first_match", extraction_config=[LatexExtractionConfig()])
        answer = parse(box(pair.answer), extraction_mode="first_match", extraction_config=[config])
        verdicts.append(not gold or verify(answer, gold))
    return verdicts


def real_pairs(count: int | None, rng: random.Random) -> list[Pair]:
    """Rewrites of all gold answers in the folder of real problems, or so many of them."""
    import pandas as pd

    files = ("math_500", "guru_math_5120", "aime2024", "amc2023")
    rows = [row for name in files for row in pd.read_parquet(REAL / f"{name}.parquet")["reward_model"]]
    pairs = [pair for gold in sorted({row["ground_truth"] for row in rows}) for pair in pairs_of(gold, rng)]
    if count is None or count >= len(pairs):
        return pairs
    forms = Counter(pair.form for pair in pairs)  # the rarer a form, the more of its pairs
    keyed = sorted(pairs, key=lambda pair: rng.random() ** (forms[pair.form] ** 0.5), reverse=True)
    return keyed[:count]


def rule_pairs() -> list[Pair]:
    return [
        Pair(rule.kind, gold, answer, equal)
        for rule in RULES
        for pairs, equal in ((rule.right, True), (rule.wrong, False))
        for gold, answer in pairs
    ]


def verdict_table(pairs: Sequence[Pair], verdicts: dict[str, list[bool]]) -> list[str]:
    """Markdown: of each form the equal answers that each side rejects, and the wrong ones that it accepts."""
    lines = [f"| form | equal, wrong | {' | '.join(verdicts)} |", "| --- | --- |" + " --- |" * len(verdicts)]
    for form in [*sorted({pair.form for pair in pairs}), "all"]:
        places = [place for place, pair in enumerate(pairs) if form in (pair.form, "all")]
        equal, wrong = ([place for place in places if pairs[place].equal is kind] for kind in (True, False))
        cells = [f"{sum(not v[p] for p in equal)}, {sum(v[p] for p in wrong)}" for v in verdicts.values()]
        if form == "all":
            shares = [
                f"{sum(not v[p] for p in equal) / len(equal):.2%}, {sum(v[p] for p in wrong) / len(wrong):.2%}"
                for v in verdicts.values()
            ]
            cells = [f"{cell} ({share})" for cell, share in zip(cells, shares, strict=True)]
        lines.append(f"| {form} | {len(equal)}, {len(wrong)} | {' | '.join(cells)} |")
    return lines


def print_verdicts(options: argparse.Namespace) -> None:
    sides: dict[str, Judge] = {
        "grader": by_rules("by_form", options.workers),
        "grading.rules=math_verify": by_rules("math_verify", options.workers),
        "math-verify": by_math_verify,
        "TRL": by_accuracy_reward,
        "Open-R1": as_open_r1,
    }
    if options.before:
        sides["commit before"] = by_checkout(options.before, options.workers)
    sides = {name: judge for name, judge in sides.items() if not options.sides or name in options.sides.split(",")}
    lines = []
    asked = {
        "Rewrites": real_pairs(options.pairs, random.Random(options.seed)),
        "Pairs of other graders' tests": peer_pairs(),
        "Examples of the rules": rule_pairs(),
    }
    for title, pairs in asked.items():
        verdicts, rates = {}, {}
        for name, judge in sides.items():
            start = time.perf_counter()
            verdicts[name] = judge(pairs)
            rates[name] = len(pairs) / (time.perf_counter() - start)
        lines += [f"{title}: equal rejected, wrong accepted", "", *verdict_table(pairs, verdicts)]
        lines += [f"| pairs/s | | {' | '.join(f'{rate:,.0f}' for rate in rates.values())} |", ""]
    print("\n".join(lines))
    if options.markdown:
        Path(options.markdown).write_text("\n".join(lines), encoding="utf-8")


def print_programs(count: int) -> None:
    problem = Problem("p", "def add(a, b):\n", "def check(candidate):\n    assert candidate(2, 3) == 5\n", "hard", None, "test")
    texts = [f"```python\ndef add(a, b):\n    return a + b + {number % 2}\n```" for number in range(count)]
    for workers in (1, 2, 4):
        grade_programs(texts[:1], [problem], workers)
        start = time.perf_counter()
        verdicts = grade_programs(texts, [problem] * count, workers)
        assert [verdict.correct for verdict in verdicts] == [number % 2 == 0 for number in range(count)]
        print(f"{workers} workers: {count / (time.perf_counter() - start):.0f} answers/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    defaults = {"prompts": 100, "samples": 6, "batches": 5, "workers": 2, "characters": 12_000, "seed": 0}
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default {default}")
    parser.add_argument("--verdicts", action="store_true", help="judge rewrites in the place of measuring throughput")
    parser.add_argument("--programs", type=int, help="judge so many short programs in the place of measuring throughput")
    parser.add_argument("--pairs", type=int, help="of rewrites that are judged; default: all")
    parser.add_argument("--sides", metavar="NAMES", help="who judges, such as grader,TRL; default: all")
    parser.add_argument("--before", metavar="CHECKOUT", help="also judge by the grader of another checkout")
    parser.add_argument("--markdown", metavar="FILE", help="also write the tables there")
    options = parser.parse_args()
    logging.disable(logging.ERROR)
    if options.programs:
        return print_programs(options.programs)
    if options.verdicts:
        warnings.simplefilter("ignore")  # SymPy warns of what math-verify does with it
        return print_verdicts(options)
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
