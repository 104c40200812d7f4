"""The trials of a sweep as a table: from Optuna's storage where it is newer than the table beside it, else from that.

A sweep that is still going, or was killed, has no table or an old one. Nothing is written to a storage.
"""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from src.record.left_out import Unreadable
from src.sweep.fidelity import RUNG
from src.sweep.journal import Journal, JournalLock

if TYPE_CHECKING:
    import pandas as pd
    from optuna.storages import BaseStorage

TABLES = ("trials.parquet", "trials.csv")
CONNECT_S = 10  # to a database server


def read_trials(folder: Path, study: str, storage: str | None, objectives: Sequence[str]) -> "pd.DataFrame":
    """A row for each trial, as `sweep.results.trials_table` has them. Raises Unreadable if there is nothing to read."""
    table = next((folder / name for name in TABLES if (folder / name).is_file()), None)
    file = _file(folder, storage)
    if table and file and file.stat().st_mtime <= table.stat().st_mtime:
        return _read(table)
    if file or (storage and "://" in storage and not storage.startswith("sqlite")):
        try:
            return _from_storage(file or str(storage), study, objectives)
        except Exception as error:
            words = next(iter(str(error).splitlines()), "")[:200]
            reason = f"its storage cannot be read ({type(error).__name__}: {words})"
            if not table:
                raise Unreadable(reason) from error
            print(f"{folder}: {reason}; {table.name} beside it is taken, which may be older", file=sys.stderr)
    if not table:
        raise Unreadable(f"half-written: it has no table of trials, and its storage {_shown(storage)} is not there")
    return _read(table)


def _read(table: Path) -> "pd.DataFrame":
    import pandas as pd
    import pyarrow

    try:
        return pd.read_parquet(table) if table.suffix == ".parquet" else pd.read_csv(table)
    except (ValueError, OSError, pyarrow.ArrowInvalid) as error:
        raise Unreadable(f"malformed: {table.name} is not a table") from error


def _file(folder: Path, storage: str | None) -> Path | None:
    """The storage, if it is a file that is there; that in the sweep's own folder first, which may have been moved."""
    from sqlalchemy.engine import make_url

    if storage and "://" in storage:
        named = make_url(storage).database if storage.startswith("sqlite") else None
    else:
        named = storage or "journal.log"
    if not named:
        return None
    return next((path for path in (folder / Path(named).name, Path(named)) if path.is_file()), None)


def _from_storage(place: Path | str, study: str, objectives: Sequence[str]) -> "pd.DataFrame":
    return trials_table(_loaded(place, study), objectives)


def load(folder: Path, study: str, storage: str | None) -> Study:
    """A sweep's study, to be read. Raises KeyError if there is none of that name, and what storages raise that cannot be read."""
    return _loaded(_file(folder, storage) or str(storage), study)


def _loaded(place: Path | str, study: str) -> Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls its journal experimental
        return optuna.load_study(study_name=study, storage=_opened(place))


def _opened(place: Path | str) -> "BaseStorage":
    from optuna.storages import JournalStorage, RDBStorage

    if isinstance(place, str):
        return RDBStorage(place, engine_kwargs={"pool_pre_ping": True, "connect_args": {"connect_timeout": CONNECT_S}})
    with place.open("rb") as file:
        if file.read(6) != b"SQLite":
            return JournalStorage(Journal(str(place), JournalLock(place.with_name(f"{place.name}.lock"))))
    return RDBStorage(f"sqlite:///file:{place.resolve()}?mode=ro&uri=true")


def _shown(storage: Any) -> str:
    """Without a password."""
    scheme, _, rest = str(storage).rpartition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if scheme else rest


def trials_table(study: Study, objectives: Sequence[str]) -> "pd.DataFrame":
    """A row for each trial: number, state, the objectives with their spread over seeds, parameters, lower rungs, cost, reason."""
    import pandas as pd

    return pd.DataFrame([_row(trial, objectives) for trial in study.get_trials(deepcopy=False)])


def _row(trial: FrozenTrial, objectives: Sequence[str]) -> dict[str, Any]:
    account = trial.user_attrs.get("account", {})
    values = trial.values if trial.state == TrialState.COMPLETE else None
    spreads = account.get("spread") or []
    row: dict[str, Any] = {"number": trial.number, "state": trial.state.name.lower()}
    for place, key in enumerate(objectives):
        row[key] = values[place] if values else None
        row[f"{key}/spread"] = spreads[place] if values and place < len(spreads) else None
    row |= {f"param/{name}": value for name, value in trial.params.items()}
    row |= {f"{RUNG}{number}": value for number, value in enumerate(account.get("rungs", []), 1)}
    row |= {key: account.get(key) for key in ("low", "high", "steps", "seconds", "usd", "gpu_hours", "start_delay_s", "folder")}
    row["reason"] = account.get("reason") or trial.user_attrs.get("reason", "")
    row["deaths"] = len(trial.user_attrs.get("deaths", []))
    return row | {"began": trial.datetime_start, "ended": trial.datetime_complete}
