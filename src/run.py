"""From a command line to a validated configuration, and from an error to one line and an exit code. All of Hydra is here."""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from src.common.errors import RunFailed, UserError
from src.config.continuing import config_from, config_to_continue, picked
from src.config.faults import explain_hydra
from src.config.tree import LabConfig
from src.experiment.preparing import check_machine
from src.experiment.run import run
from src.hardware.launch import launch, needs_launch
from src.hardware.ranks import adopt_slurm, failure_noted
from src.plan import auto
from src.plan.plan import show_plan

CONF = Path(__file__).parent.parent / "conf"
SWEEPS = CONF.parent / "sweeps"
FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130  # exit codes
# ${pick:<name>,{<name>: <value>, ...}}: a value that depends on another one, such as the GPUs on the model's size.
OmegaConf.register_new_resolver("pick", lambda name, table: table[name], replace=True)
OF_A_SESSION = ("hardware.", "budget.", "hub.")  # what may be given anew beside resume=
FULL_ERRORS = os.environ.get("HYDRA_FULL_ERROR") == "1"


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def hydra_main(cfg: DictConfig) -> float | list[float] | None:
    if not FULL_ERRORS:
        os.environ.pop("HYDRA_FULL_ERROR")  # main set it for Hydra; processes started from here must not inherit it
    try:
        hydra_config = HydraConfig.get()
        choices = chosen_options(hydra_config.runtime.choices)
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
        if needs_launch(config.hardware):
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
    if auto.asked_for(sys.argv[1:]):
        spell_out_auto()
    with failure_noted():
        run_or_end()


def spell_out_auto() -> None:
    """Put what `auto` comes to on this machine in its place on the command line, and say it."""
    overrides = [text for text in sys.argv[1:] if "=" in text and text[0] != "-" or text[0] == "~"]
    swept = [text for text in overrides if OverridesParser.create().parse_override(text).is_sweep_override()]
    try:
        spelled, chosen = auto.explicit([text for text in overrides if text not in swept], composed)
    except (UserError, HydraException, OmegaConfBaseException) as error:
        end(error)
    sys.argv[1:] = [*spelled, *swept, *(text for text in sys.argv[1:] if text not in overrides)]
    print(f"auto: {chosen}\n  python -m src.run {shlex.join(sys.argv[1:])}", flush=True)


def composed(arguments: Sequence[str]) -> dict[str, Any]:
    """The resolved content of a command line. Raises UserError where it has none."""
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = hydra.compose("config", overrides=list(arguments), return_hydra_config=True)
        choices = chosen_options(cfg.hydra.runtime.choices)
        with open_dict(cfg):
            del cfg.hydra
        content: Any = OmegaConf.to_container(cfg, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain_hydra(LabConfig, error)) from error
    return {**content, "name": content["name"] or choices.get("experiment", "custom"), "choices": choices}


def chosen_options(choices: Mapping[str, str | None]) -> dict[str, str]:
    """The option chosen in each group of the configuration's own."""
    return {group: name for group, name in choices.items() if "/" not in group and name}


def run_or_end() -> None:
    try:
        hydra_main()
    except (UserError, RunFailed, HydraException, OmegaConfBaseException) as error:
        end(error)
    except KeyboardInterrupt:  # before the run had a record
        print("interrupted before anything was written", file=sys.stderr)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
