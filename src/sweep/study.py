"""The study in Optuna's storage: opened or continued, and shared with other sweepers without a trial run twice.

Claims of trials are made under a lock in the sweep's folder. Whose a running trial is stands in it; whether that
sweeper lives, a lock says that the kernel drops when it does not. So a trial of a dead sweeper can be told at once.
"""

import os
import socket
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from src.common.errors import UserError
from src.common.locks import FileLock, held, is_held
from src.common.secrets import is_secret, without_password
from src.record.recipe import ALWAYS_WAS
from src.sweep.composer import counting
from src.sweep.journal import REMEDY, Journal, JournalLock, damaged, mend
from src.sweep.pending import Pending
from src.sweep.space import Space

NOT_GIVEN = ("None", "{}")  # defaults, as text
OWNER = "sweeper"  # user attribute of a trial
LIBPQ = ("postgresql:", "postgresql+psycopg")  # whose drivers take what the server is to set
LOST_S = 60  # after which PostgreSQL takes its locks from a host that was lost amid a transaction; by itself after hours
_GOES_ON = "what trials have saved is kept, and the same command goes on from there"


def open_storage(url: str | None, folder: Path) -> BaseStorage:
    """The journal in the sweep's folder, or the storage at a URL. Raises UserError if it cannot be reached."""
    if url is None or "://" not in url:
        path = folder / "journal.log" if url is None else Path(url)
        if path.exists() and not path.is_file():
            raise UserError(f"sweep.storage: {path} is no file; give the name of a file, or the URL of a database")
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = JournalLock(path.with_name(f"{path.name}.lock"))
        mend(path, lock)
        try:
            return _quietly(lambda: JournalStorage(Journal(str(path), lock)))
        except (LookupError, TypeError, ValueError, AssertionError, AttributeError) as error:  # lines that do not go together
            raise UserError(damaged(path, f"its lines do not go together ({type(error).__name__})")) from error
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    try:
        options: dict[str, Any] = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {"pool_pre_ping": True}
        if url.startswith(LIBPQ) and "options=" not in url:  # which would be replaced
            options["connect_args"] = {"options": f"-c idle_in_transaction_session_timeout={LOST_S}s"}
        with held(folder / "claim.lock"):  # two sweepers must not both make the tables
            return _quietly(lambda: RDBStorage(url, engine_kwargs=options))
    except ImportError as error:
        raise UserError(
            f"sweep.storage: {without_password(url)} needs its database driver, for PostgreSQL pip install 'psycopg[binary]'"
        ) from error
    except (ArgumentError, SQLAlchemyError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise UserError(f"sweep.storage: {without_password(url)} cannot be reached ({first})") from error


@contextmanager
def storage_in_words(url: str | None, kind: type[Exception]) -> Iterator[None]:
    """Raise `kind` with one line where the storage, or the disk, gives way inside."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        raise kind(f"sweep: {error.strerror or error}{place}; {_GOES_ON}") from error
    except (optuna.exceptions.StorageInternalError, SQLAlchemyError) as error:
        first = str(error.__cause__ or error).splitlines()[0]
        raise kind(f"sweep.storage: {without_password(url or '')} cannot be used ({first}); {_GOES_ON}") from error


def _quietly(make: Callable[[], BaseStorage]) -> BaseStorage:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return make()


def open_study(
    storage: BaseStorage, name: str, folder: Path, directions: Sequence[str], space: Space, base: dict[str, Any]
) -> Study:
    """Make the study or continue it. `base` is what all trials share, by key.

    Raises UserError if the one there has other directions, another search space or another base, saying how.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    base = _without_secrets(base)
    with held(folder / "claim.lock"):
        try:
            study = optuna.load_study(study_name=name, storage=storage)
        except KeyError:
            study = optuna.create_study(study_name=name, storage=storage, directions=list(directions))
        identity = {
            "directions": list(directions), "space": space.described(), "base": base, "folder": str(folder.resolve()),
        }
        known = study.user_attrs.get("identity")
        if known is None:
            if [direction.name.lower() for direction in study.directions] != list(directions):
                _refuse(name, f"its directions are {[d.name.lower() for d in study.directions]}, not {list(directions)}")
            study.set_user_attr("identity", identity)
            return study
    if known["directions"] != identity["directions"]:
        _refuse(name, f"its directions are {', '.join(known['directions'])}, not {', '.join(directions)}")
    if differences := _differences(known["space"], identity["space"], "search space"):
        _refuse(name, differences)
    if differences := _differences(counting(_without_secrets(known["base"]), base), base, "configuration"):
        _refuse(name, differences)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)):
        if lost := space.distributions.keys() - trial.params.keys():
            raise UserError(f"sweep: the study {name} is damaged: its trial {trial.number} has lost {', '.join(sorted(lost))}; {REMEDY}")
    if known["folder"] != identity["folder"]:
        _refuse(name, f"its folder is {known['folder']}, not {folder.resolve()}; give sweep.dir={known['folder']}")
    return study


def _without_secrets(base: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in base.items() if not is_secret(key)}


def _refuse(name: str, difference: str) -> None:
    raise UserError(
        f"sweep: the study {name} is another one: {difference}; give a new sweep.study_name, or delete the old one with its folder"
    )


def _differences(known: dict[str, Any], asked: dict[str, Any], what: str) -> str:
    """The keys that differ, in words; empty if none do."""
    found = []
    for key in sorted(known.keys() | asked.keys()):
        if key not in asked:
            found.append(f"{key} is no longer varied" if what == "search space" else f"{key} was {known[key]}")
        elif key not in known and (asked[key] in NOT_GIVEN or asked[key] == str(ALWAYS_WAS.get(key))):
            pass  # a key that came later
        elif key not in known:
            found.append(f"{key} is new" if what == "search space" else f"{key} is new ({asked[key]})")
        elif known[key] != asked[key]:
            found.append(f"{key} was {known[key]}, now {asked[key]}")
    rest = f" and {len(found) - 4} more" if len(found) > 4 else ""
    return f"the {what} differs: {'; '.join(found[:4])}{rest}" if found else ""


class Claims:
    """Takes trials for this sweeper: dead ones first, then new ones up to the total."""

    def __init__(self, study: Study, folder: Path, space: Space, n_trials: int) -> None:
        self.study, self.folder, self.space, self.n_trials = study, folder, space, min(n_trials, space.size or n_trials)
        self.pending = Pending()
        self.me = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self.alive = FileLock(self._lock_of(self.me))
        self.alive.acquire(0)

    def close(self) -> None:
        self.alive.release()
        self.alive.path.unlink(missing_ok=True)

    def _lock_of(self, sweeper: str) -> Path:
        return self.folder / "sweepers" / f"{sweeper}.lock"

    def dead(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Running trials that nobody runs, of all. To be called under the claim lock."""
        running = [trial for trial in self.pending.read(trials) if trial.state == TrialState.RUNNING]
        owners = {trial.user_attrs.get(OWNER) for trial in running} - {self.me}
        # Owner and trial are written under the lock, so one without an owner was left by a kill in between.
        gone = {owner for owner in owners if owner is None or not is_held(self._lock_of(owner))}
        return [trial for trial in running if trial.user_attrs.get(OWNER) in gone]

    def others(self) -> bool:
        """Whether other sweepers are running trials."""
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return any(trial.user_attrs.get(OWNER) != self.me for trial in running)

    def counted(self, trials: Sequence[FrozenTrial] | None = None) -> int:
        """Trials so far, whatever became of them; of those that earlier versions repeated at one point the first."""
        trials = self.study.get_trials(deepcopy=False) if trials is None else trials
        return len({self.space.point(t.params) or t.number for t in trials}) if self.space.size else len(trials)

    def known(self, trial: Trial) -> FrozenTrial | None:
        """A complete trial with the same parameters, whose values this one would have."""
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)) if trial.params else []
        return next((other for other in complete if other.params == trial.params), None)

    def take(
        self, sampler: Callable[[int], Any], new_allowed: Callable[[], bool], again_allowed: Callable[[], bool]
    ) -> tuple[Trial, bool] | None:
        """The next trial, and whether it was taken over from a dead sweeper; None if there is none to take."""
        with held(self.folder / "claim.lock"):
            trials = self.study.get_trials(deepcopy=False)
            if dead := self.dead(trials):
                if not again_allowed():
                    return None
                self.study.sampler = sampler(dead[0].number)
                trial, adopted = Trial(self.study, dead[0]._trial_id), True
            elif self.counted(trials) < self.n_trials and new_allowed():
                self.study.sampler = sampler(len(trials))
                trial, adopted = self.study.ask(), False
            else:
                return None
            trial.set_user_attr(OWNER, self.me)
            # A kill can have come between two parameters: those that it has stay as they are.
            for name, distribution in self.space.distributions.items():
                trial._suggest(name, distribution)
            # The journal's trials stay in memory, each with distributions of its own: 1 KB that all can share.
            frozen = self.study._storage.get_trial(trial._trial_id)
            if frozen.distributions.keys() == self.space.distributions.keys():  # one taken over may have further parameters
                frozen.distributions = self.space.distributions
            return trial, adopted
