import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import ROOT

from src.common.types import Verdict
from src.grading.extraction import box
from src.grading.grader import VERSION, Grader
from src.grading.judging import parse_gold

REAL = ROOT.parent / "shared" / "data"
HANGS = "9^{9^{9^{9}}}"  # math-verify parses it at once, and compares it with another number for ever
real_data = pytest.mark.skipif(not REAL.exists(), reason="needs the real problems in ../shared/data")


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader() as grader:
        yield grader


@pytest.fixture(scope="module")
def library() -> Iterator[Grader]:
    """By the rules of math-verify alone."""
    with Grader(rules="math_verify") as grader:
        yield grader


@pytest.mark.parametrize(
    ("text", "gold", "verdict"),
    [
        (r"So $\boxed{42}$.", "42", Verdict(True, "42", "equal")),
        (r"So $\boxed{43}$.", "42", Verdict(False, "43", "different")),
        (r"\boxed{042}", "42", Verdict(True, "042", "equal")),
        (r"\boxed{\frac{2}{4}}", r"\frac12", Verdict(True, r"\frac{2}{4}", "equal")),
        (r"\boxed{0.5}", r"\frac{1}{2}", Verdict(True, "0.5", "equal")),
        (r"\boxed{3}", r"3\sqrt{2}", Verdict(False, "3", "different")),
        (r"\boxed{\sqrt{18}}", r"3\sqrt{2}", Verdict(True, r"\sqrt{18}", "equal")),
        (r"\boxed{(3,\pi/2)}", r"\left( 3, \frac{\pi}{2} \right)", Verdict(True, r"(3,\pi/2)", "equal")),
        (r"\boxed{3n + n^2}", "n^2 + 3n", Verdict(True, "3n + n^2", "equal")),
        (r"\boxed{east}", r"\text{east}", Verdict(True, "east", "equal")),
        (r"\boxed{[-2,7]}", r"x \in [-2,7]", Verdict(True, "[-2,7]", "equal")),
        (rf"\boxed{{1}} {'no, wait. ' * 8} \boxed{{2}}", "2", Verdict(True, "2", "equal")),
        (r"\boxed{1} and \boxed{2}", "1, 2", Verdict(True, "1,2", "equal")),
        (r"The answer is $x + x$.", "2x", Verdict(False, "", "no answer")),
        ("It is 42", "42", Verdict(False, "", "no answer")),
        ("The final answer: 42", "42", Verdict(False, "", "no answer")),
        (r"\boxed{1}", "}", Verdict(False, "1", "unreadable gold")),
    ],
)
def test_verdicts(grader: Grader, text: str, gold: str, verdict: Verdict) -> None:
    assert grader.grade([text], [gold]) == [verdict]


@pytest.mark.parametrize(
    ("text", "last"),
    [
        (r"The answer is $x + x$.", Verdict(True, "x + x", "equal")),
        ("Final answer: $x + x$", Verdict(True, "x + x", "equal")),
        ("The final answer: it is 2 * 4, so $2x$", Verdict(True, "2x", "equal")),
        (r"First $3x$, then $x + x$", Verdict(True, "x + x", "equal")),
        (r"So \boxed{3x}, not $2x$", Verdict(False, "3x", "different")),
        (r"So \boxed{2x", Verdict(False, "", "no answer")),
        ("nothing", Verdict(False, "", "no answer")),
    ],
)
def test_only_a_box_counts_unless_the_last_expression_does_too(grader: Grader, text: str, last: Verdict) -> None:
    assert grader.grade([text], ["2x"], reader="last_expression") == [last]
    assert grader.grade([text], ["2x"], reader="boxed")[0].reason == ("no answer" if r"\boxed{3x}" not in text else "different")


def plain_math_verify(text: str, gold: str) -> bool:
    """The verdict of math-verify alone, in this process, called as TRL's `accuracy_reward` calls it."""
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse, verify

    config = LatexExtractionConfig(
        normalization_config=NormalizationConfig(units=True), boxed_match_priority=0, try_extract_without_anchor=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SymPy warns of what math-verify does with it
        return verify(parse_gold(gold), parse(text, [config], extraction_mode="first_match"))


def spellings(gold: str, other: str) -> list[str]:
    return [
        box(gold),
        f"So ${box(f' {gold} ')}$.",
        box(gold.replace(r"\frac", r"\dfrac").replace(r"\left", "").replace(r"\right", "")),
        f"First \\boxed{{{other}}}.\n</think>\n\n**Result**\n\\[ x = {box(gold)} \\]",
        f"Either {box(other)} or {box(gold)}.",
        f"The answer is \\( {gold} \\)",
        f"The final answer is ${gold}$. I hope it is correct.",
        f"${box(gold)}$ percent",
        box(f"{gold}+1"),
        box(other),
        box(gold)[:-1],
        gold,
    ]


def real_golds(name: str) -> list[str]:
    import pandas as pd

    return [row["ground_truth"] for row in pd.read_parquet(REAL / f"{name}.parquet")["reward_model"]]


@real_data
def test_verdicts_are_those_of_math_verify_where_the_rules_are(library: Grader) -> None:
    rng = random.Random(0)
    golds = [
        gold
        for name, count in (("math_500", 20), ("amc2023", 2), ("aime2024", 2), ("guru_math_5120", 20))
        for gold in rng.sample(sorted(set(real_golds(name))), count)
    ]
    pairs = [(text, gold) for gold in golds for text in spellings(gold, rng.choice(golds))]
    verdicts = library.grade([text for text, _ in pairs], [gold for _, gold in pairs])
    expected = [plain_math_verify(text, gold) for text, gold in pairs]
    assert [verdict.correct for verdict in verdicts] == expected
    assert 150 < sum(expected) < len(expected) - 150


def test_integers_are_compared_as_math_verify_does() -> None:
    rng = random.Random(0)
    numbers = [0, -1, 1, 10**15 - 2, *(rng.randint(-(10**digits), 10**digits) for digits in range(1, 15))]
    pairs = [(number, other) for number in numbers for other in (number, -number, number + 1)]
    before = multiprocessing.active_children()
    verdicts = Grader().grade([box(str(other)) for _, other in pairs], [str(number) for number, _ in pairs])
    assert [verdict.correct for verdict in verdicts] == [number == other for number, other in pairs]
    assert multiprocessing.active_children() == before  # no worker was needed
    assert [plain_math_verify(box(str(b)), str(a)) for a, b in pairs] == [a == b for a, b in pairs]


def test_gold_answers_are_graded_by_themselves(grader: Grader) -> None:
    golds = ["42", r"\frac14", r"11\sqrt2", r"\[ 1979 \]", "$x^2$", "", r"\{-3, \\", "42"]
    assert [verdict.reason for verdict in grader.check_gold(golds)] == [
        *("equal", "equal", "equal", "equal", "equal", "unreadable gold", "unreadable gold", "equal"),
    ]


@real_data
def test_every_gold_answer_of_math_500_can_be_met(grader: Grader) -> None:
    assert all(verdict.correct for verdict in grader.check_gold(real_golds("math_500")))


def test_a_hanging_answer_is_killed_and_counted_wrong() -> None:
    texts = [box(answer) for answer in ("2+3", HANGS, "5.0", "6.0", "5")] + ["none"]
    with Grader(seconds_per_answer=1.0) as grader:
        start = time.perf_counter()
        verdicts = grader.grade(texts, ["5"] * len(texts))
        assert time.perf_counter() - start < 15
        assert [verdict.correct for verdict in verdicts] == [True, False, True, False, True, False]
        assert verdicts[1] == Verdict(False, "", "timeout")
        assert grader.timeouts == 1
        assert grader.grade([box("1+4"), box("1+5")], ["5", "5"]) == [
            Verdict(True, "1+4", "equal"),
            Verdict(False, "1+5", "different"),
        ]
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            assert grader.grade([box(HANGS)], ["5"])[0].reason == "timeout"
            seconds.append(time.perf_counter() - start)
        assert min(seconds) < 0.1 and grader.timeouts == 1  # it does not get a second chance


def test_an_answer_that_is_slow_in_python_costs_its_limit_and_no_worker() -> None:
    pieces = " + ".join(f"x_{{{n}}}^{{{n}}}" for n in range(1, 9))
    slow = [box(rf"({pieces})^{{{n}}}") for n in (40, 41)]
    with Grader(workers=1, seconds_per_answer=1.0, rules="math_verify") as grader:
        grader.grade([box("x + x")], ["2x"])
        workers = {child.pid for child in multiprocessing.active_children()}
        start = time.perf_counter()
        verdicts = grader.grade([*slow, box("x + x")], [rf"({pieces})^{{39}} + 1"] * 2 + ["2x"])
        seconds = time.perf_counter() - start
        assert [verdict.reason for verdict in verdicts] == ["timeout", "timeout", "equal"]
        assert seconds < 4 and grader.timeouts == 2
        assert workers <= {child.pid for child in multiprocessing.active_children()}


def test_two_spellings_of_an_absolute_value_are_told_equal_in_time(grader: Grader) -> None:
    gold, answer = "y=|x^3-x^2-2x|/3-|x+1|", r"y = \frac{|x^3 - x^2 - 2x|}{3} - |x+1|"
    start, before = time.perf_counter(), grader.timeouts
    assert [v.correct for v in grader.grade([box(answer), box(f"{answer} + 1")], [gold] * 2)] == [True, False]
    assert time.perf_counter() - start < 15 and grader.timeouts == before


def test_the_rules_have_versions_of_their_own() -> None:
    assert Grader(rules="math_verify").version != Grader().version == VERSION


@pytest.mark.parametrize("rules", ["grader", "library"])
def test_a_percent_sign_can_be_read(rules: str, request: pytest.FixtureRequest) -> None:
    """Fails where the generated parser breaks again: latex2sympy2_extended 1.11.0 with antlr 4.9 lacks FUNC_GAMMA."""
    grader = request.getfixturevalue(rules)
    assert grader.check_gold([r"35\%"])[0].reason == "equal"
    assert [v.correct for v in grader.grade([box(r"35\%"), box(r"36\%"), box("0.35")], [r"35\%"] * 3)] == [True, False, True]


def test_rules_can_be_the_library_alone(grader: Grader, library: Grader) -> None:
    texts, golds = [box("52_7"), box("2^{-80}"), box("nope")], ["52_8", "2^{-81}", "open"]
    assert [verdict.correct for verdict in library.grade(texts, golds)] == [True, True, True]
    assert [verdict.correct for verdict in grader.grade(texts, golds)] == [False, False, False]


def test_equal_work_is_done_once() -> None:
    texts = [rf"{'So ' * number}\boxed{{x + {number % 3}x}}" for number in range(60)]
    with Grader(workers=1) as grader:
        first = grader.grade(texts, ["2x"] * 60)
        assert [verdict.correct for verdict in first] == [number % 3 == 1 for number in range(60)]
        grader.close()
        before = multiprocessing.active_children()
        assert grader.grade(texts, ["2x"] * 60) == first
        assert multiprocessing.active_children() == before  # nobody was asked again


def test_a_batch_of_seen_answers_takes_milliseconds(grader: Grader) -> None:
    def seconds(below: int) -> float:
        golds = [rf"\frac{{{number}}}{{{below}}}" for number in range(1, 13) for _ in range(6)]
        texts = [f"<think>\n3 + 4 = 7\n</think>\n{box(gold)}" for gold in golds]
        grader.check_gold(golds)
        start = time.perf_counter()
        assert all(verdict.correct for verdict in grader.grade(texts, golds))
        return time.perf_counter() - start

    assert min(map(seconds, (13, 17, 19, 23))) < 0.01  # at best: other work may come between


def test_threads_may_grade_at_the_same_time(grader: Grader) -> None:
    def grade(number: int) -> list[bool]:
        texts = [box(f"y + {number}y"), box(f"{number}y + 2y")]
        return [verdict.correct for verdict in grader.grade(texts, [f"{number + 1}y"] * 2)]

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(grade, range(2, 26))) == [[True, False]] * 24


def test_workers_do_without_torch(grader: Grader) -> None:
    import torch  # noqa: F401  (so that this process has it)

    grader.grade([box("z + z")], ["2z"])
    workers = multiprocessing.active_children()
    assert len(workers) >= 2
    for worker in workers:
        assert "torch" not in Path(f"/proc/{worker.pid}/maps").read_text()


def test_frozen_workers_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.grading.grader.OUTSIDE_LIMIT_SECONDS", 2.0)
    with Grader(2, seconds_per_answer=5.0) as grader:
        others = set(multiprocessing.active_children())
        grader.grade([box("z + z")], ["2z"])
        frozen = set(multiprocessing.active_children()) - others
        for worker in frozen:
            os.kill(worker.pid, signal.SIGSTOP)
        assert [verdict.correct for verdict in grader.grade([box("y + y"), box("y")], ["2y", "3y"])] == [True, False]
        assert not any(worker.is_alive() for worker in frozen)


def test_idle_workers_that_were_killed_are_replaced() -> None:
    with Grader() as grader:
        others = set(multiprocessing.active_children())
        grader.grade([box("u + u")], ["2u"])
        for worker in set(multiprocessing.active_children()) - others:
            os.kill(worker.pid, signal.SIGKILL)
        assert grader.grade([box("u + 2u")], ["3u"])[0].correct
        for worker in set(multiprocessing.active_children()) - others:
            for judge in children(worker.pid or 0):
                os.kill(judge, signal.SIGKILL)
        assert grader.grade([box("u + 3u")], ["4u"])[0].correct
        assert grader.timeouts == 0


SCRIPT = """
import sys, threading, time
from src.grading.grader import Grader

if __name__ == "__main__":
    grader = Grader(seconds_per_answer=2.0)
    grader.grade([r"\\boxed{2+3}"], ["5"])
    threading.Thread(target=grader.grade, args=(sys.argv[1:], ["5"] * len(sys.argv[1:])), daemon=True).start()
    time.sleep(0.5)
    print("ready", flush=True)
    time.sleep(60)
"""


STUCK = """
import time
from src.grading import judging
from src.grading.grader import Grader

judge = judging.judge_by_form
judging.RULES["by_form"] = (judging.judge_gold_by_form, lambda text, gold: sum(range(10**12)) if "stuck" in text else judge(text, gold))

if __name__ == "__main__":
    texts = [r"\\boxed{2x}", r"\\boxed{x + x}", r"\\boxed{stuck}", r"\\boxed{3x - x}", r"\\boxed{3x}"]
    with Grader(workers=1, seconds_per_answer=1.0) as grader:
        grader.grade([r"\\boxed{y + y}"], ["2y"])
        for gold in ("2x + 1", "2x + 2", "2x + 3"):
            start = time.monotonic()
            print([verdict.reason for verdict in grader.grade(texts[2:3], [gold])], time.monotonic() - start)
        print([verdict.reason for verdict in grader.grade(texts, ["2x"] * 5)], grader.timeouts)
"""


def test_an_answer_stuck_in_a_library_costs_its_limit_once_and_no_other_its_verdict(tmp_path: Path) -> None:
    script = tmp_path / "stuck.py"
    script.write_text(STUCK)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=120)
    *alone, together = done.stdout.splitlines()
    assert [line.split()[0] for line in alone] == ["['timeout']"] * 3, done.stderr
    assert 1.0 <= min(float(line.split()[1]) for line in alone) < 1.5
    assert together == "['equal', 'equal', 'timeout', 'equal', 'different'] 4"


@pytest.fixture
def start_script(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    started = []

    def start(*texts: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(script), *texts],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def children(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(child) for child in listed.stdout.split()]


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


@pytest.mark.parametrize("texts", [[], [box(HANGS), box(f"{HANGS}+1")]], ids=["idle", "hanging"])
def test_workers_end_with_a_killed_parent(start_script: Callable[..., subprocess.Popen[str]], texts: list[str]) -> None:
    parent = start_script(*texts)
    assert parent.stdout is not None and parent.stdout.readline() == "ready\n"
    workers = children(parent.pid)
    assert len(workers) >= 2
    workers += [judge for worker in workers for judge in children(worker)]
    assert len(workers) >= 3
    parent.kill()
    assert wait_until(lambda: not any(map(running, workers)), 30), "workers outlive their parent"


@pytest.mark.parametrize("starting", [True, False])
def test_ctrl_c_is_left_to_the_parent(start_script: Callable[..., subprocess.Popen[str]], starting: bool) -> None:
    parent = start_script()
    if starting:
        assert wait_until(lambda: len(children(parent.pid)) >= 2, 30)
        time.sleep(0.1)
    else:
        assert parent.stdout is not None and parent.stdout.readline() == "ready\n"
    os.killpg(parent.pid, signal.SIGINT)
    output = parent.communicate(timeout=30)[1]
    assert output.count("Traceback") == 1 and "spawn_main" not in output, output


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 worker"):
        Grader(workers=0)
    with pytest.raises(ValueError, match="more than 0 seconds"):
        Grader(seconds_per_answer=0)


def test_version_names_the_libraries_that_decide() -> None:
    assert "math-verify 0." in VERSION and "sympy 1." in VERSION
