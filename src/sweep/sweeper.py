"""The loop of a sweep: fill the slots, answer reports, collect what ended, and look after those that hang.

Optuna decides what to try and what to prune; here it is decided what runs where, and what became of it.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from src.common.errors import UserError
from src.common.files import NO_ROOM
from src.common.screen import duration
from src.sweep.budget import CONFIRMED, HOURS, Accounts, Budget, Spending
from src.sweep.config import SweepConfig
from src.sweep.engines.channel import Channel, Outcome, Report
from src.sweep.engines.engine import Ended, TrialEngine
from src.sweep.engines.trial import TrialSpec, kept_config, run_of_another, steps_saved
from src.sweep.pruners import KEPT, OUTCOMES, Mirror
from src.sweep.screen import SweepScreen
from src.sweep.seeds import spread, surely_out
from src.sweep.space import Space
from src.sweep.study import Claims

TOLD = "told"  # user attribute: the step at which a trial was told to end and why, or halving would forget it in a kill
LOG_LINES = 20  # of a failed trial's log, kept in the study
LOOK_S = 1.0  # between looks at what other sweepers do, at silent trials and at the budget
CLOCK_S = 30.0  # between writings of it
ROOM_S = 10.0  # before a trial that found no room on the disk is tried again
ROOM_PATIENCE_S = 600.0  # after which the sweep ends, for somebody to make room


@dataclass
class Running:
    """A trial in a slot."""

    trial: Trial
    spec: TrialSpec
    started: float
    ended_for: str | None = None  # why the sweeper killed it
    can_pass: bool = True  # whether that may go better next time


@dataclass
class Sweep:
    """What belongs to one sweep."""

    config: SweepConfig
    study: Study
    space: Space
    folder: Path
    pruner: BasePruner
    sampler: Callable[[int], Any]  # for a trial's number
    spec: Callable[[Trial, float], TrialSpec]  # raises UserError for a configuration that does not hold together
    budget: Budget
    price_usd_per_second: float  # of a running trial
    figure: list[str]  # path of the figure to prune on; empty = no pruning
    objective: int  # place of the objective to prune on
    enough: Callable[[], str | None] | None = None  # why the study can end before all trials are done


@dataclass
class Sweeper:
    sweep: Sweep
    engine: TrialEngine
    claims: Claims
    screen: SweepScreen
    running: dict[int, Running] = field(default_factory=dict)
    again: deque[Trial] = field(default_factory=deque)
    ending: str | None = None  # why no trial is started any more
    stopping: bool = False  # the running ones were asked to end
    accounts: Accounts = field(default_factory=Accounts)
    looked: float = float("-inf")
    clock_kept: float = float("-inf")
    nothing_to_take_at: float = float("-inf")
    no_room_since: float | None = None  # the disk is full
    rest_until: float = float("-inf")  # nothing is started before

    def __post_init__(self) -> None:
        self.study = self.sweep.study
        several = len(self.study.directions) > 1
        self.mirror = Mirror(self.study, self.sweep.objective, self.sweep.pruner) if several else None
        self.study.pruner = self.sweep.pruner
        self.begun = self.engine.now()

    def run(self) -> str | None:
        """Until all trials are done, or may not be started; returns why it ended before all were done."""
        while True:
            self._fill()
            if not self.running and not self.again:
                if self.ending or not self._left():
                    break
                time.sleep(LOOK_S)  # only other sweepers' trials are left, and one of those may die
            self.engine.wait()
            for number, report in list(self.engine.reports()):
                self._answer(number, report)
            for ended in self.engine.ended():
                self._collect(ended)
            if self.engine.now() - self.looked >= LOOK_S:
                self._look_after()
        self._keep_clock()
        self.show()
        return self.ending

    def show(self) -> None:
        """The state as it is now."""
        self.screen.tick(len(self.running), self.engine.slots, self.spending())

    def stop(self, reason: str) -> None:
        """Start nothing more and ask the running trials to end in order."""
        self.ending = self.ending or reason
        self.stopping = True
        self.again.clear()
        for number in self.running:
            self.engine.stop(number, reason)

    # Filling slots

    def _fill(self) -> None:
        while len(self.running) < self.engine.slots and not self.stopping:
            now = self.engine.now()
            if now < self.rest_until:
                return
            if self.again:
                self._start(self.again.popleft(), now)
            elif self.ending or now - self.nothing_to_take_at < LOOK_S:
                return
            elif taken := self.claims.take(self.sweep.sampler, self._affordable, self._may_go_on):
                trial, adopted = taken
                self._start(trial, now, adopted)
            else:
                self.nothing_to_take_at = now
                return

    def _affordable(self) -> bool:
        """Whether the budget has room for one more trial."""
        return self._unless(self.sweep.budget.refuses(self.spending()))

    def _may_go_on(self) -> bool:
        """Whether there is budget left for a trial that has begun."""
        return self._unless(self.sweep.budget.spent(self.spending()))

    def _unless(self, refusal: str | None) -> bool:
        self.ending = refusal or self.ending
        return refusal is None

    def _left(self) -> bool:
        """Whether there is a trial to run, or one of another sweeper that might yet die."""
        if self.claims.others():
            return True
        return self.claims.counted() < self.claims.n_trials

    def _start(self, trial: Trial, free_since: float, adopted: bool = False) -> None:
        try:
            spec = self.sweep.spec(trial, free_since)
        except UserError as error:
            self._fail(trial, str(error), Path())
            return
        if known := self.claims.known(trial):
            self._answer_from(known, trial)
            return
        if another := run_of_another(spec):
            raise UserError(f"sweep: {another}; give a new sweep.study_name, or remove that folder")
        # Its last word counts only beside its run: the control folder says nothing of the configuration.
        lies_there = kept_config(Path(spec.configs[0]["run_dir"]))
        if adopted and lies_there and (outcome := Channel(Path(spec.control)).final()):
            self._finish(trial, spec, outcome)
            return
        self.running[trial.number] = Running(trial, spec, self.engine.now())
        self.engine.start(spec)
        steps = sum(config.get("scale", {}).get("steps", 0) for config in spec.configs)
        self.screen.started(trial.number, spec.title, steps, adopted or bool(self._deaths(trial)))

    def _answer_from(self, known: FrozenTrial, trial: Trial) -> None:
        """Of a repeat the record knows the end."""
        reason = f"the same as trial {known.number}"
        nothing = {"seconds": 0.0, "usd": 0.0, "gpu_hours": 0.0, "reason": reason, "repeats": known.number}
        account = {key: value for key, value in known.user_attrs.get("account", {}).items() if key != "rungs"}  # which it did not climb
        trial.set_user_attr("account", account | nothing)
        self.study.tell(trial, known.values)
        self.screen.ended(trial.number, "complete", known.values, reason)

    # Reports

    def _answer(self, number: int, report: Report) -> None:
        trial = self.running[number].trial
        decide = self._skip_seeds if report.kind == "seed" else self._prune
        self.engine.answer(number, report, decide(trial, report))

    def _prune(self, trial: Trial, report: Report) -> str | None:
        """Hand the value of a validation, or of a rung, to Optuna; the reason to stop, if its pruner says so."""
        step = report.step
        if (told := trial.user_attrs.get(TOLD)) and told["step"] == step:
            return told["reason"]
        if kept := KEPT.get(self.sweep.config.pruner["name"]):
            known = trial.user_attrs.get(kept, {})
            trial.set_user_attr(kept, known | {str(step): report.outcomes if kept == OUTCOMES else report.error})
        if self.mirror:
            known = trial.user_attrs.get(Mirror.REPORTS, {})
            trial.set_user_attr(Mirror.REPORTS, known | {str(step): report.value})
            prune = self.mirror.should_prune(trial.number)
        else:
            frozen = self.study._storage.get_trial(trial._trial_id)
            if step not in frozen.intermediate_values:  # it is there if the trial was killed after it had reported
                trial.report(report.value, step)
            prune = trial.should_prune()
        resources = self.running[trial.number].spec.resources
        where = f"rung {resources.index(step) + 1} of {len(resources)}" if report.kind == "rung" else f"step {step}"
        self.screen.reported(trial.number, where, report.value)
        if not prune:
            return None
        said = getattr(self.sweep.pruner, "said", "")
        reason = f"{self.sweep.config.pruner['name']} pruner at {where}, with {report.value:.4f}" + (f", {said}" if said else "")
        trial.set_user_attr(TOLD, {"step": step, "reason": reason})
        return reason

    def _skip_seeds(self, trial: Trial, report: Report) -> str | None:
        place = self.sweep.objective
        finished = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        others = [[values[place] for values in other.user_attrs["account"]["by_seed"]] for other in finished]
        maximise = self.study.directions[place] == StudyDirection.MAXIMIZE
        return surely_out(report.seed_values, others, maximise)

    # Ends

    def _collect(self, ended: Ended) -> None:
        running = self.running.pop(ended.number)
        trial, spec, outcome = running.trial, running.spec, ended.outcome
        self.nothing_to_take_at = float("-inf")
        if outcome is None:
            seconds = self.engine.now() - running.started
            usd = seconds * self.sweep.price_usd_per_second
            usd += trial.user_attrs.get("account", {}).get("usd", 0.0)  # of earlier attempts
            reason = running.ended_for or ended.how
            lost = Outcome("failed", reason, running.can_pass, [], [], None, None, 0, seconds, usd, 0.0)
            self._died(trial, spec, lost)
        elif outcome.status in ("complete", "pruned"):
            self._finish(trial, spec, outcome)
        elif outcome.status == "interrupted" and self.stopping:
            self._account(trial, spec, outcome)
            self.screen.ended(trial.number, "interrupted", None, outcome.reason)
        else:
            by_another = outcome.status == "interrupted"  # than this sweeper: somebody sent that one process a signal
            reason = f"interrupted ({outcome.reason})" if by_another else outcome.reason
            self._died(trial, spec, replace(outcome, reason=reason, can_pass=outcome.can_pass or by_another))

    def _finish(self, trial: Trial, spec: TrialSpec, outcome: Outcome) -> None:
        """Write a finished trial down. Its outcome file stands, so a kill in the middle of this loses nothing."""
        self.no_room_since = None
        self._account(trial, spec, outcome)
        if outcome.status == "complete":
            self.study.tell(trial, outcome.values)
            self.screen.ended(trial.number, "complete", outcome.values, "", (outcome.low, outcome.high))
        else:
            self.study.tell(trial, state=TrialState.PRUNED)
            self.screen.ended(trial.number, "pruned", None, outcome.reason)
        if outcome.status == "complete" and not self.stopping and self.sweep.enough and (reason := self.sweep.enough()):
            self.stop(f"{reason}; {self._saved()}")

    def _saved(self) -> str:
        """What ending now saves, by what trials took so far; those in hand count whole."""
        spending = self.spending()
        left = self.claims.n_trials - self.claims.counted() + len(self.running)
        seconds, usd = (self.sweep.budget.trial_seconds(spending) or 0), (self.sweep.budget.trial_usd(spending) or 0)
        return f"that saves {left} of {self.claims.n_trials} trials, about {duration(left * seconds)} and ${left * usd:.2f}"

    def _account(self, trial: Trial, spec: TrialSpec, outcome: Outcome) -> None:
        """Keep with the trial what it took and found. Optuna holds all trials in memory, so nothing empty is kept."""
        entries: dict[str, Any] = {
            "folder": spec.folder, "steps": outcome.step, "seconds": outcome.seconds, "usd": outcome.usd,
            "gpu_hours": outcome.gpu_hours,
        }
        if len(outcome.by_seed) > 1:
            columns = zip(*outcome.by_seed, strict=True)
            entries |= {"by_seed": outcome.by_seed, "spread": [spread(column) for column in columns]}
        if outcome.rungs:
            entries["rungs"] = outcome.rungs
        rest = {
            "reason": outcome.reason or None, "low": outcome.low, "high": outcome.high,
            "start_delay_s": Channel(Path(spec.control)).start_delay_s(),
        }
        trial.set_user_attr("account", entries | {key: value for key, value in rest.items() if value is not None})

    def _died(self, trial: Trial, spec: TrialSpec, outcome: Outcome) -> None:
        """Try a trial again that ended without a result, unless it would only end the same way."""
        deaths, step, reason = self._deaths(trial), steps_saved(spec), outcome.reason
        if reason.startswith(NO_ROOM):
            self._wait_for_room(trial, spec, outcome)
            return
        trial.set_user_attr("deaths", [*deaths, {"reason": reason, "step": step}])
        earlier = sum(death["step"] >= step for death in deaths)
        self._account(trial, spec, outcome)
        if outcome.can_pass and earlier < self.sweep.config.retries:
            self.screen.ended(trial.number, "died", None, f"{reason}; taken up again from step {step}")
            if not self.stopping:
                self.again.append(trial)
        else:
            self._fail(trial, reason, Path(spec.log))

    def _wait_for_room(self, trial: Trial, spec: TrialSpec, outcome: Outcome) -> None:
        """A full disk is no fault of the trial: it is taken up again when there may be room, by a later sweeper at last."""
        now = self.engine.now()
        self._account(trial, spec, outcome)
        self.screen.ended(trial.number, "waits", None, outcome.reason)
        self.no_room_since = now if self.no_room_since is None else self.no_room_since
        self.rest_until = now + ROOM_S
        if now - self.no_room_since > ROOM_PATIENCE_S:
            self.stop(f"{NO_ROOM} for {duration(now - self.no_room_since)}")
        elif not self.stopping:
            self.again.append(trial)

    def _fail(self, trial: Trial, reason: str, log: Path) -> None:
        trial.set_user_attr("reason", reason)
        if log.is_file():
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
            trial.set_user_attr("log_tail", "\n".join(lines)[-4000:])
        self.study.tell(trial, state=TrialState.FAIL)
        self.screen.ended(trial.number, "failed", None, reason)
        failed = len(self.study.get_trials(deepcopy=False, states=(TrialState.FAIL,)))
        rate, limit = failed / self.claims.n_trials, self.sweep.config.max_failure_rate
        if rate > limit and not self.stopping:
            self.stop(f"{failed} of {self.claims.n_trials} trials failed, more than max_failure_rate={limit:g} allows")

    def _deaths(self, trial: Trial) -> list[dict[str, Any]]:
        return list(trial.user_attrs.get("deaths", []))

    # Looking after

    def _look_after(self) -> None:
        config, now = self.sweep.config, self.engine.now()
        self.looked = now
        for number, running in self.running.items():
            self.screen.stepped(number, self.engine.step(number))
            silent = self.engine.silent_s(number)
            if running.ended_for:
                continue
            if silent > config.heartbeat:
                running.ended_for = f"no sign of life for {silent:.0f} s"
            elif config.trial_limit_s and self.engine.running_s(number) > config.trial_limit_s:
                running.ended_for, running.can_pass = f"longer than trial_limit_s={config.trial_limit_s:g}", False
            if running.ended_for:
                self.engine.kill(number)
        if now - self.clock_kept >= CLOCK_S:
            self._keep_clock()
        spending = self.spending()
        if not self.stopping and (reason := self.sweep.budget.spent(spending)):
            self.stop(reason)
        self.screen.tick(len(self.running), self.engine.slots, spending)

    def spending(self, confirmed: bool = True) -> Spending:
        """What the study took so far, this sweeper's running trials included, and with `confirmed` what confirming it took."""
        now, trials = self.engine.now(), self.study.get_trials(deepcopy=False)
        spending = self.accounts.read(trials)
        expected_s = self.sweep.budget.trial_seconds(spending) or 0.0
        expected_usd = self.sweep.budget.trial_usd(spending) or 0.0
        for number in self.accounts.pending.numbers:  # those of other sweepers as if they had just begun
            seconds = now - self.running[number].started if number in self.running else 0.0
            usd = seconds * self.sweep.price_usd_per_second
            spending.usd += usd
            spending.running_seconds += max(0.0, expected_s - seconds)
            spending.running_usd += max(0.0, expected_usd - usd)
        earlier = (v for k, v in self.study.user_attrs.items() if k.startswith(f"{HOURS}:") and k != self._clock)
        also = self.study.user_attrs.get(CONFIRMED, {}) if confirmed else {}
        spending.usd += also.get("usd", 0.0)
        spending.hours = sum(earlier) + (now - self.begun) / 3600 + also.get("hours", 0.0)
        return spending

    @property
    def _clock(self) -> str:
        return f"{HOURS}:{self.claims.me}"

    def _keep_clock(self) -> None:
        self.clock_kept = self.engine.now()
        self.study.set_user_attr(self._clock, (self.engine.now() - self.begun) / 3600)


def wait_for_end(sweeper: Sweeper, seconds: float) -> None:
    """Give the trials that were asked to end the time for the step in hand."""
    until = time.monotonic() + seconds
    while sweeper.running and time.monotonic() < until:
        sweeper.engine.wait()
        for number, report in list(sweeper.engine.reports()):
            sweeper._answer(number, report)
        for ended in sweeper.engine.ended():
            sweeper._collect(ended)
