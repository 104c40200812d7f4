"""How a run goes on: with its own configuration, but for what may differ between a run and its continuation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from src.common.errors import UserError
from src.common.secrets import is_secret, only_known
from src.config.limits import check_budget_left
from src.config.tree import LabConfig, parse
from src.record.recipe import IN_A_CONTINUATION, differing, flat, recipe_of
from src.record.record import read_config, read_summary

OF_A_SESSION = ("hardware", "budget", "hub", "tracking", "record")  # groups that may be given anew beside resume=


def config_from(content: Mapping[str, Any], choices: Mapping[str, str]) -> LabConfig:
    """The validated configuration of composed, resolved content and the option chosen in each group."""
    name = content["name"] or choices.get("experiment", "custom")
    return parse({**content, "name": name, "choices": dict(choices)})


def config_to_continue(
    folder: Path, asked: LabConfig | None, changes: Mapping[str, Mapping[str, Any]] | None = None
) -> LabConfig:
    """The configuration of the run in `folder`, with keys of `changes`: it may go on on other hardware, with another
    budget, tracked or kept in another way, or to be pushed. Its name and its place stay.

    Raises UserError if it is no unfinished run, if its budget is spent, or if another than its own was `asked`.
    """
    born = (folder / "summary.json").is_file() or not (folder / "config.yaml").is_file()
    summary = read_summary(folder) if born else {"status": "running"}  # killed before it had one: it begins again
    if (status := summary["status"]) in ("complete", "pruned"):
        raise UserError(f"resume: {folder} is {status}; there is nothing to continue")
    content = only_known(read_config(folder))  # secrets are not written; the libraries read theirs from the environment
    if asked:
        both = [recipe_of(flat(only_known(config.published())), IN_A_CONTINUATION) for config in (parse(content), asked)]
        if groups := dict.fromkeys(key.partition(".")[0] for key in differing(both)):
            raise UserError(f"resume: {folder} ran with another {', '.join(groups)}; give resume= alone, or start a new run")
        content |= {group: getattr(asked, group).model_dump() for group in OF_A_SESSION}
        changes = {"trainer": {key: value for key, value in asked.trainer.items() if is_secret(key)}}
    for group, values in (changes or {}).items():
        content[group] = (content.get(group) or {}) | values
    saved = parse(content)
    check_budget_left(saved.budget, summary.get("cost", {}))
    return saved.model_copy(update={"resume": str(folder)} if born else {"run_dir": str(folder)})


def of_a_session(keys: Sequence[str]) -> bool:
    """Whether dotted keys are all such as may be given beside resume= alone."""
    groups = tuple(f"{group}." for group in OF_A_SESSION)
    return all(key in ("resume", "plan") or key.startswith(groups) for key in keys)


def picked(content: Mapping[str, Any], keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The values at dotted keys of two parts, by group."""
    found: dict[str, dict[str, Any]] = {}
    for group, _, key in (key.partition(".") for key in keys):
        if key:
            top = key.partition(".")[0]
            found.setdefault(group, {})[top] = content[group][top]
    return found
