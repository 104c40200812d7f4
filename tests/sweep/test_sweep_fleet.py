"""The sweeper's loop on a simulated clock: Optuna, the journal and the loop are real, trials are curves (benchmarks/sweeps.py)."""

import io
import re

import optuna
import pytest
from optuna.trial import TrialState
from rich.console import Console

from benchmarks.sweeps import FleetEngine, fleet_sweeper
from src.sweep.config import SweepConfig
from src.sweep.repeats import best_of
from src.sweep.screen import SweepScreen, shown
from src.sweep.sweeper import CLOCK_S

GOOD, BAD = [0.5, 0.6, 0.7, 0.8], [0.1, 0.1, 0.1, 0.1]
HOUR = 3600.0


class Log(SweepScreen):
    """Keeps what would be written."""

    def note(self, text):
        self.__dict__.setdefault("lines", []).append(text)


def swept(folder, seed=0, trial_hours=1.0, **options):
    """Run a sweep of curves; returns why it ended and the sweeper."""
    config = SweepConfig(**({"n_trials": 40, "n_jobs": 4, "pruner": "median", "sampler": "random"} | options))
    sweeper = fleet_sweeper(folder, FleetEngine(config.n_jobs, [GOOD, BAD], trial_hours * HOUR, seed, 1.0), config, Log)
    try:
        return sweeper.run(), sweeper
    finally:
        sweeper.claims.close()


def states(sweeper):
    return [trial.state.name.lower() for trial in sweeper.study.get_trials(deepcopy=False)]


def test_every_trial_is_run_once_and_added_up_once(tmp_path):
    why, sweeper = swept(tmp_path)
    trials = sweeper.study.get_trials(deepcopy=False)
    assert why is None and len(trials) == 40 and all(trial.state.is_finished() for trial in trials)
    late_and_bad = [trial for trial in trials[16:] if trial.intermediate_values[1] < 0.3]
    assert len(late_and_bad) > 5 and {trial.state for trial in late_and_bad} == {TrialState.PRUNED}
    starts = [line for line in sweeper.screen.lines if " starts" in line]
    assert len(starts) == 40
    spending, accounts = sweeper.spending(), [trial.user_attrs["account"] for trial in trials]
    assert spending.usd == pytest.approx(sum(account["usd"] for account in accounts))
    assert spending.full == states(sweeper).count("complete") and spending.running_seconds == 0
    lines = list(map(str, sweeper.screen._lines(len(sweeper.running), sweeper.engine.slots, spending)))
    best = max(trial.value for trial in trials if trial.state == TrialState.COMPLETE)
    counted = [states(sweeper).count(state) for state in ("running", "complete", "pruned")]
    assert "{} running, {} finished, {} pruned, $".format(*counted) + f"{spending.usd:.2f}" in lines[0]
    assert lines[1].startswith("best so far: ") and lines[1].endswith(f": {best:.4f}") and len(lines) == 2
    # A sweeper that comes later reads the same from the storage.
    _, later = swept(tmp_path)
    assert later.spending().usd == pytest.approx(spending.usd) and len(states(later)) == 40
    assert later.spending().hours >= spending.hours - CLOCK_S / HOUR


class Terminal(SweepScreen):
    """Of 60 columns, what is drawn on it kept."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.console = Console(file=io.StringIO(), force_terminal=True, width=60, height=30, highlight=False)


def test_the_table_fits_the_terminal_and_its_last_frame_is_the_last_state(tmp_path):
    engine = FleetEngine(2, [GOOD], HOUR, 0)
    sweeper = fleet_sweeper(tmp_path, engine, SweepConfig(n_trials=3, n_jobs=2, pruner="none", sampler="random"), Terminal)
    screen = sweeper.screen
    with screen:
        screen.started(7, "lr.peak=0.0001 " * 9, 40, False)
        screen.stepped(7, None)
        assert "starting" in screen.latest[7]
        screen.stepped(7, 1)
        assert screen.latest[7] == "step 1 of 40"
        screen.reported(7, "step 10", 0.5)
        screen.stepped(7, 12)
        assert screen.latest[7] == "step 12 of 40: 0.5000"
        sweeper.show()
        screen.live.refresh()
        screen.ended(7, "complete", [0.5], "")
        sweeper.run()
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "\n", screen.console.file.getvalue())
    live = [line for line in drawn.splitlines() if re.match(r"fleet: |best so far|trial \d+  ", line)]
    assert len(live) > 2 and max(map(len, live)) == 60
    assert live[-2].startswith("fleet: 3 of 3 trials; 0 running, 3 finished") and live[-1].startswith("best so far: trial ")
    sweeper.claims.close()


def test_the_best_so_far_is_shown_with_its_interval_or_its_spread():
    study = optuna.create_study(direction="maximize")
    trial = study.ask()
    trial.set_user_attr("account", {"low": 0.4, "high": 0.6, "by_seed": [[0.5]]})
    study.tell(trial, 0.5)
    assert shown(best_of(study)[0]) == "trial 0: 0.5000 [0.4000, 0.6000]"
    trial = study.ask()
    trial.set_user_attr("account", {"low": 0.4, "high": 0.6, "by_seed": [[0.6], [0.8]], "spread": [0.1414]})
    study.tell(trial, 0.7)
    assert shown(best_of(study)[0]) == "trial 1: 0.7000 ± 0.1414 (2 seeds)"


def test_money_that_is_spent_ends_the_sweep_in_order_and_more_continues_it(tmp_path):
    why, sweeper = swept(tmp_path, budget={"usd": 6.0}, pruner="none")
    assert "budget.usd=6" in why
    # Trials of about a dollar, one is started only where a mean one fits beside those that run.
    assert 4.0 < sweeper.spending().usd <= 6.3 and len(states(sweeper)) < 8
    spent = sweeper.spending().usd
    why, again = swept(tmp_path, budget={"usd": 6.0}, pruner="none")
    assert "budget.usd=6" in why and again.spending().usd == pytest.approx(spent)  # the same command runs nothing
    why, more = swept(tmp_path, budget={"usd": 9.0}, pruner="none")
    assert "budget.usd=9" in why and spent < more.spending().usd <= 9.3


def test_time_that_is_spent_ends_running_trials_which_go_on_with_more(tmp_path):
    why, sweeper = swept(tmp_path, budget={"hours": 1.5}, pruner="none", n_trials=6)
    assert why == "budget.hours=1.5 has no room for another trial"  # of an hour each, after the first four
    assert states(sweeper) == ["complete"] * 4
    why, late = swept(tmp_path / "late", budget={"hours": 0.5}, pruner="none", n_trials=4)
    assert why == "budget.hours=0.5 is spent" and states(late) == ["running"] * 4
    interrupted = [line for line in late.screen.lines if "interrupted" in line]
    assert len(interrupted) == 4 and late.spending().usd > 4 * 0.5
    why, same = swept(tmp_path / "late", budget={"hours": 0.5}, pruner="none", n_trials=4)
    assert why == "budget.hours=0.5 is spent" and states(same) == ["running"] * 4 and not same.engine.clock
    why, more = swept(tmp_path / "late", budget={"hours": 9.0}, pruner="none", n_trials=4)
    assert why is None and states(more) == ["complete"] * 4


def test_a_trial_that_takes_too_long_is_ended_and_not_tried_again(tmp_path):
    why, sweeper = swept(tmp_path, trial_limit_s=0.9 * HOUR, pruner="none", n_trials=12, max_failure_rate=1.0)
    ended = states(sweeper)
    assert why is None and ended.count("fail") > 3
    failed = [trial for trial in sweeper.study.get_trials(deepcopy=False) if trial.state == TrialState.FAIL]
    assert {trial.user_attrs["reason"] for trial in failed} == {"longer than trial_limit_s=3240"}
    assert {len(trial.user_attrs["deaths"]) for trial in failed} == {1}


def test_too_many_failures_end_the_sweep(tmp_path):
    why, sweeper = swept(tmp_path, trial_limit_s=0.5 * HOUR, pruner="none", n_trials=20, max_failure_rate=0.2)
    assert "more than max_failure_rate=0.2 allows" in why and states(sweeper).count("fail") < 10


def test_what_a_trial_leaves_in_memory_is_small(tmp_path):
    _, sweeper = swept(tmp_path, n_trials=60)
    backend, trials = sweeper.study._storage._backend, sweeper.study.get_trials(deepcopy=False)
    assert len(backend._log_number_offset) < 20  # Optuna's own keeps one for each line of the journal
    assert len({id(trial.distributions) for trial in trials}) == 1
    account = max((trial.user_attrs["account"] for trial in trials), key=len)
    assert set(account) == {"folder", "steps", "seconds", "usd", "gpu_hours", "reason"}


def test_the_space_is_inferred_from_new_trials_only(tmp_path):
    _, sweeper = swept(tmp_path, sampler="tpe", n_trials=30)
    maker = sweeper.sweep.sampler
    (inferred,) = maker.inferred.values()
    assert inferred._cached_trial_number > 20
    again, other = maker(30).made(0), maker(31).made(0)
    assert again._search_space is inferred and other._rng.rng.get_state()[1][0] != again._rng.rng.get_state()[1][0]
