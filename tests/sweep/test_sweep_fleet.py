"""The sweeper's loop on a simulated clock: Optuna, the journal and the loop are real, trials are curves (benchmarks/sweeps.py)."""

import io

import pytest
from optuna.trial import TrialState
from rich.console import Console

from benchmarks.sweeps import FleetEngine, fleet_sweeper
from src.sweep.config import SweepConfig
from src.sweep.screen import SweepScreen
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
    console = Console(record=True, width=160, file=io.StringIO())
    console.print(sweeper.screen._table(len(sweeper.running), sweeper.engine.slots, spending))
    best = max(trial.value for trial in trials if trial.state == TrialState.COMPLETE)
    row = console.export_text().splitlines()[4]
    counted = [str(states(sweeper).count(state)) for state in ("running", "complete", "pruned", "fail")]
    assert row.replace("│", " ").split()[:4] == counted and f": {best:.4f}" in row and f"${spending.usd:.2f}" in row
    # A sweeper that comes later reads the same from the storage.
    _, later = swept(tmp_path)
    assert later.spending().usd == pytest.approx(spending.usd) and len(states(later)) == 40
    assert later.spending().hours >= spending.hours - CLOCK_S / HOUR


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
    again = maker(30)
    assert again._search_space is inferred and maker(31)._rng.rng.get_state()[1][0] != again._rng.rng.get_state()[1][0]
