"""From a command line to a validated configuration, and from an error to one line and an exit code. All of Hydra is here."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.bill.budget import check_budget_left
from src.bill.plan import show_plan
from src.config import LabConfig, parse
from src.distributed.launch import launch, needs_launch
from src.distributed.ranks import adopt_slurm, failure_noted
from src.errors import RunFailed, UserError
from src.faults import explain_hydra
from src.record import read_summary
from src.run import check_machine, run

CONF = Path(__file__).parent.parent / "conf"
SWEEPS = CONF.parent / "sweeps"
FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130  # exit codes
# ${pick:<name>,{<name>: <value>, ...}}: a value that depends on another one, such as the GPUs on the model's size.
OmegaConf.register_new_resolver("pick", lambda name, table: table[name], replace=True)
MAY_DIFFER = {"resume", "choices", "plan", "hardware", "budget", "hub"}  # between a run and its continuation
OF_A_SESSION = ("hardware.", "budget.", "hub.")  # what may be given anew beside resume=
FULL_ERRORS = os.environ.get("HYDRA_FULL_ERROR") == "1"


def config_from(content: Mapping[str, Any], choices: Mapping[str, str]) -> LabConfig:
    """The validated configuration of composed, resolved content and the option chosen in each group."""
    name = content["name"] or choices.get("experiment", "custom")
    return parse({**content, "name": name, "choices": dict(choices)})


def config_to_continue(
    folder: Path, asked: LabConfig | None, changes: Mapping[str, Mapping[str, Any]] | None = None
) -> LabConfig:
    """The configuration of the run in `folder`, with keys of `changes`: it may go on on other hardware, with another
    budget or to be pushed.

    Raises UserError if it is no unfinished run, if its budget is spent, or if another than its own was `asked`.
    """
    summary = read_summary(folder)
    if (status := summary["status"]) in ("complete", "pruned"):
        raise UserError(f"resume: {folder} is {status}; there is nothing to continue")
    content = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    if asked:
        one, other = (config.model_dump(exclude=MAY_DIFFER) for config in (parse(content), asked))
        if differing := [key for key in one if one[key] != other[key]]:
            raise UserError(
                f"resume: {folder} ran with another {', '.join(differing)}; give resume= alone, or start a new run"
            )
        changes = {group: getattr(asked, group).model_dump() for group in ("hardware", "budget", "hub")}
    for group, values in (changes or {}).items():
        content[group] = content.get(group, {}) | values
    saved = parse(content)
    check_budget_left(saved.budget, summary.get("cost", {}))
    return saved.model_copy(update={"resume": str(folder)})


def picked(content: Mapping[str, Any], keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The values at dotted keys of two parts, by group."""
    found: dict[str, dict[str, Any]] = {}
    for group, _, key in (key.partition(".") for key in keys):
        if key:
            top = key.partition(".")[0]
            found.setdefault(group, {})[top] = content[group][top]
    return found


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def hydra_main(cfg: DictConfig) -> float | list[float] | None:
    if not FULL_ERRORS:
        os.environ.pop("HYDRA_FULL_ERROR")  # main set it for Hydra; processes started from here must not inherit it
    try:
        hydra_config = HydraConfig.get()
        choices = {group: name for group, name in hydra_config.runtime.choices.items() if "/" not in group and name}
        content = OmegaConf.to_container(cfg, resolve=True)
        given = [change.partition("=")[0] for change in hydra_config.overrides.task]
        if content["resume"] and all(key in ("resume", "plan") or key.startswith(OF_A_SESSION) for key in given):
            config = config_to_continue(Path(content["resume"]), None, picked(content, given))
        else:
            config = config_from(content, choices)
            if config.resume:
                config = config_to_continue(Path(config.resume), config)
        if content["plan"]:
            show_plan(config, print)
            return None
        adopt_slurm()
        if needs_launch(config):
            check_machine(config)  # once, before there are several to complain
            sys.exit(launch(config.hardware, sys.argv[1:]))
        summary = run(config)
    except (UserError, RunFailed, OmegaConfBaseException) as error:
        end(error)
    if summary["status"] == "interrupted":
        sys.exit(INTERRUPTED)
    return summary.get("objective")


def end(error: Exception) -> NoReturn:
    """Leave with one line that says why; with the whole traceback where the user asked Hydra for it."""
    if FULL_ERRORS:
        raise error
    known = isinstance(error, UserError | RunFailed)
    print(f"error: {error if known else explain_hydra(LabConfig, error)}", file=sys.stderr)
    sys.exit(FAILED if isinstance(error, RunFailed) else BAD_INPUT)


def sweeping(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for a sweep; its budget is then the sweeper's."""
    return any(
        argument in ("-m", "--multirun") or argument.startswith("+sweep=") or argument == "hydra.mode=MULTIRUN"
        for argument in arguments
    )


def spelled_out(argument: str, swept: bool) -> str:
    """An argument as Hydra wants it.

    Any field of TRL's config can be set without Hydra's `+`, and the sweeper's keys as `sweep.<key>`, and in a sweep as
    `budget.<key>`; which there are is checked later.
    """
    if argument.startswith("trainer."):
        return f"++{argument}"
    if argument.startswith("sweep."):
        return f"++hydra.sweeper.{argument.removeprefix('sweep.')}"
    to_sweeper = argument.startswith("ray.") or (swept and argument.startswith("budget."))
    return f"++hydra.sweeper.{argument}" if to_sweeper else argument


def offer_sweeps(arguments: Sequence[str] | None = None) -> None:
    """Make `+sweep=<name>` take sweeps/<name>.yaml, and the sweeper known where the project is not the current folder.

    Only the sweeps that `arguments` name are read, all of them without: Hydra copies what is registered a hundred times
    to print its help.
    """
    from hydra.core.config_store import ConfigStore
    from hydra.core.plugins import Plugins

    from hydra_plugins.grpo_lab_sweeper import OptunaSweeper

    for path in SWEEPS.glob("*.yaml"):
        named = arguments is None or any(path.stem in argument for argument in arguments)
        node = OmegaConf.load(path) if named else {}
        ConfigStore.instance().store(group="sweep", name=path.stem, node=node, package="_global_")
    Plugins.instance().register(OptunaSweeper)


def main() -> None:
    """Hydra's entry, with errors as one line each."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that Hydra hands errors on instead of printing them its own way
    swept = sweeping(sys.argv[1:])
    sys.argv[1:] = [spelled_out(argument, swept) for argument in sys.argv[1:]]
    offer_sweeps(sys.argv[1:])
    with failure_noted():
        run_or_end()


def run_or_end() -> None:
    try:
        hydra_main()
    except (UserError, RunFailed, HydraException, OmegaConfBaseException) as error:
        end(error)
    except KeyboardInterrupt:  # before the run had a record
        print("interrupted before anything was written", file=sys.stderr)
        sys.exit(INTERRUPTED)
