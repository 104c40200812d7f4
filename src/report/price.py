"""What the next answer costs, from the records: `python -m src.report --plan`. Variances are the runs' own, costs the plan's."""

from dataclasses import replace

from src.common.errors import UserError
from src.common.secrets import only_known
from src.config.tree import LabConfig, parse
from src.plan.answer import answers, in_words
from src.plan.pilots import of_sides
from src.record.record import read_config
from src.report.analysis import Analysis
from src.report.findings.configurations import Group


def priced(analysis: Analysis) -> dict[str, str]:
    """Lines by what they are about. Raises UserError where nothing is known of seeds, or a configuration cannot be planned."""
    lines: dict[str, str] = {}
    for group in analysis.ranked:
        if pilot := of_sides([group.side(configuration) for configuration in group.configurations]):
            seeds = min(len(runs) for runs in group.runs.values())
            found = answers(config_of(group), seeds, {group.suite: pilot})
            lines |= in_words([replace(each, suite=group.name) for each in found])
    if not lines:
        raise UserError("these records hold no two recipes over the same two seeds; nothing is known of seeds")
    return lines


def config_of(group: Group) -> LabConfig:
    """Of a run that measured it."""
    return parse(only_known(read_config(group.runs[group.configurations[0].key][0].folder)))
