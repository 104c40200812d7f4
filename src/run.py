"""From a command line to a validated configuration, and from an error to one line and an exit code. All of Hydra is here."""

import os
import sys

if not __package__:  # `python src/run.py`: what lies beside it must not stand before the standard library's modules
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import math
import re
import runpy
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import hydra
import yaml
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from src.common.errors import BAD_INPUT, FAILED, INTERRUPTED, RunFailed, UserError, in_words
from src.common.files import of_project
from src.common.secrets import redacted
from src.common.streams import protect
from src.config.continuing import config_from, config_to_continue, of_a_session, picked
from src.config.faults import ADDED_GROUPS, explain_hydra, has_key, names_within
from src.config.tree import OPEN_KEYS, LabConfig, parse
from src.experiment.preparing import check_machine, check_sources
from src.experiment.run import run
from src.hardware.launch import launch, needs_launch
from src.hardware.ranks import adopt_slurm, failure_noted
from src.model.config import LORA_LEARNING_RATE
from src.plan import auto
from src.plan.plan import show_plan

CONF, SWEEPS = of_project("conf"), of_project("sweeps")
OWN_DATA = "problems=my_data"
# ${pick:<name>,{<name>: <value>, ...}}: a value that depends on another one, such as the GPUs on the model's size.
OmegaConf.register_new_resolver("pick", lambda name, table: table[name], replace=True)
# ${product:<number>,<number>, ...}
OmegaConf.register_new_resolver("product", lambda *numbers: math.prod(numbers), replace=True)
# ${learning_rate:<for all weights>,${model.lora}}: that, or the one for adapters.
OmegaConf.register_new_resolver("learning_rate", lambda rate, lora: rate * LORA_LEARNING_RATE if lora else rate, replace=True)
FULL_ERRORS = os.environ.get("HYDRA_FULL_ERROR") == "1"


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def hydra_main(cfg: DictConfig) -> float | list[float] | None:
    if not FULL_ERRORS:
        os.environ.pop("HYDRA_FULL_ERROR", None)  # main set it for Hydra; processes started from here must not inherit it
    try:
        hydra_config = HydraConfig.get()
        if hydra_config.mode == RunMode.MULTIRUN:  # our own sweeper never comes here
            raise not_ours(hydra_config.runtime.choices["hydra/sweeper"])
        choices = chosen_options(hydra_config.runtime.choices)
        content = OmegaConf.to_container(cfg, resolve=True)
        given = [change.partition("=")[0].lstrip("+") for change in hydra_config.overrides.task]
        content["run_dir"] = content["run_dir"] or (folder if (folder := hydra_config.run.dir) != "." else None)
        if content["resume"] and of_a_session(given):
            config = config_to_continue(Path(content["resume"]), None, picked(content, given))
        else:
            config = config_from(content, choices)
            if config.resume:
                config = config_to_continue(Path(config.resume), config)
        if content["plan"]:
            check_sources(config)
            show_plan(config, print)
            return None
        adopt_slurm()
        if needs_launch(config.hardware):
            check_machine(config)  # once, before there are several to complain
            sys.exit(launch(config.hardware, [sys.executable, "-m", "src.run", *sys.argv[1:]]).code)
        sys.argv[1:] = map(redacted, sys.argv[1:])  # W&B sends them
        summary = run(config)
    except Exception as error:  # noqa: BLE001 - here, or Hydra says it its own way
        end(error)
    if summary["status"] == "interrupted":
        sys.exit(INTERRUPTED)
    return summary.get("objective")


def configured(*overrides: str) -> LabConfig:
    """The validated configuration of a command line, for scripts and notebooks: `run(configured("scale.steps=10"))`."""
    return parse(composed(overrides))


def end(error: Exception) -> NoReturn:
    """Leave with one line that says why; with the whole traceback where the user asked Hydra for it."""
    if FULL_ERRORS:
        raise error
    bad_input = isinstance(error, UserError | HydraException | OmegaConfBaseException)
    if isinstance(error, UserError | RunFailed):
        said = str(error)
    elif bad_input:
        said = str(explain_hydra(LabConfig, error))
    else:
        said = f"{in_words(error)}; HYDRA_FULL_ERROR=1 before the command shows where"
    print(f"error: {redacted(of_the_sweeper(said) or said)}", file=sys.stderr)
    sys.exit(BAD_INPUT if bad_input else FAILED)


def of_the_sweeper(text: str) -> str | None:
    """Where to give a key that is none of a run, but one of sweeps."""
    from src.sweep.config import SweepConfig

    found = re.match(r"no key ([\w.]+);", text)
    if found and found[1].partition(".")[0] in SweepConfig.model_fields:
        return f"no key {found[1]}; of a sweep (with -m) it is sweep.{found[1]}"
    return None


def not_ours(sweeper: str | None) -> UserError:
    return UserError(
        f"hydra/sweeper={sweeper}: it runs all jobs in one process, and cannot go on; leave it out: of listed values every "
        "combination is run once"
    )


def refuse_theirs(arguments: Sequence[str]) -> None:
    """End where a sweeper or a launcher of Hydra's is asked for, before it writes its own file or is found not to be installed."""
    from src.sweep.config import refuse_launcher

    for argument in arguments:
        group, _, name = argument.lstrip("+").partition("=")
        if group == "hydra/sweeper" and name == "basic":
            end(not_ours(name))
        if group == "hydra/launcher":
            try:
                refuse_launcher(name)
            except UserError as error:
                end(error)


def sweeping(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for a sweep; its budget is then the sweeper's."""
    return any(
        argument in ("-m", "--multirun") or argument.startswith(("+sweep=", "sweep=")) or argument == "hydra.mode=MULTIRUN"
        for argument in arguments
    )


def spelled_out(argument: str, swept: bool) -> str:
    """An argument as Hydra wants it.

    Any key that the schema has, any field of TRL's config and any reward term can be set without Hydra's `+`, and the sweeper's
    keys as `sweep.<key>`, and in a sweep as `budget.<key>`; which there are is checked later.
    """
    if argument.startswith(OPEN_KEYS):
        return f"++{argument}"
    if argument.startswith(tuple(f"{group}=" for group in ADDED_GROUPS)):
        return f"+{argument}"
    for spelling in ("sweep.", "hydra.sweeper."):
        if argument.startswith(spelling):
            return f"++hydra.sweeper.{argument.removeprefix(spelling)}"
    if argument.startswith("ray.") or (swept and argument.startswith("budget.")):
        return f"++hydra.sweeper.{argument}"
    return f"++{argument}" if wants_plus(argument) else argument


def with_own_data(arguments: Sequence[str]) -> list[str]:
    """Arguments in which one's own problems bring an evaluation and a mix that ask for nothing else, unless others are given."""
    if OWN_DATA not in arguments:
        return list(arguments)
    given = {argument.partition("=")[0].lstrip("+") for argument in arguments if "=" in argument}
    own = {"evaluation=my_data": {"evaluation"}, "mix=all": {"mix", "experiment"}}
    place = list(arguments).index(OWN_DATA)  # argparse takes overrides from one place alone
    return [*arguments[:place], *(option for option, others in own.items() if not given & others), *arguments[place:]]


def of_hydra(option: str) -> bool:
    """Whether an option is one of Hydra's, written out; argparse would take `--experiment` for `--experimental-rerun`."""
    return any(option.partition("=")[0] in action.option_strings for action in get_args_parser()._actions)


def wants_plus(argument: str) -> bool:
    """Whether the schema has a key that Hydra would not set without a plus, because not every option of its group states it; a
    mapping may hold such keys."""
    key, sign, value = argument.partition("=")
    group, dot, rest = key.partition(".")
    if not (sign and dot and has_key(LabConfig, key)):
        return False
    files = [path for path in sorted((CONF / group).glob("*.yaml")) if not path.name.startswith("_")]
    files = files or [CONF / "config.yaml"]
    for name in names_within(LabConfig, key):  # one that no option has is misspelt, of which Hydra's refusal says more
        if not any(_states(path, name) or _states(path, name.partition(".")[2]) for path in files):
            return False
    return value.startswith("{") or not all(_states(path, key) or _states(path, rest) for path in files)


def _states(path: Path, key: str) -> bool:
    """Whether a config file has a dotted key."""
    content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    for part in key.split("."):
        if not isinstance(content, dict) or part not in content:
            return False
        content = content[part]
    return True


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
    # A config dumped by hydra-optuna-sweeper names its own class; where that is not installed, ours is meant.
    theirs = "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper"
    Plugins.instance().class_name_to_class.setdefault(theirs, OptunaSweeper)


def main() -> None:
    """Hydra's entry, with errors as one line each."""
    protect()
    if not sys.argv[1:]:
        runpy.run_module("src.commands", run_name="__main__")  # its page; each of its words leads back to a module's own entry
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that Hydra hands errors on instead of printing them its own way
    swept = sweeping(sys.argv[1:])
    sys.argv[1:] = with_own_data([spelled_out(argument, swept) for argument in sys.argv[1:]])
    if unknown := [argument for argument in sys.argv[1:] if argument.startswith("--") and not of_hydra(argument)]:
        end(UserError(f"{unknown[0]}: no such option; keys of a run are given without dashes, as in experiment=mix_easy_hard"))
    if swept:
        refuse_theirs(sys.argv[1:])
        place = next((n for n, argument in enumerate(sys.argv) if n and "=" in argument and argument[:1] != "-"), len(sys.argv))
        sys.argv.insert(place, "++hydra.sweeper._recursive_=false")  # a sampler's _target_ is a name to us, nothing to be made
    elif "--cfg" not in sys.argv and (lost := [each for each in sys.argv[1:] if each.startswith("++hydra.sweeper.")]):
        key = lost[0].removeprefix("++hydra.sweeper.")
        end(UserError(f"sweep.{key}: it says how a sweep is run, and this is one run; give -m with it"))
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
            cfg = hydra.compose("config", overrides=with_own_data(arguments), return_hydra_config=True)
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
    except Exception as error:  # noqa: BLE001 - whatever it is, a person gets one line
        end(error)
    except KeyboardInterrupt:  # before the run had a record
        print("interrupted before anything was written", file=sys.stderr)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
