"""The report on Weights & Biases, through wandb-workspaces: the compared runs, the same curves, the verdict and the claims.

Nothing that W&B does or fails to do costs more than a line on the screen: the page was written before.
"""

import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from src.common.screen import count
from src.report.analysis import Analysis
from src.report.page import TITLE, notes, subtitle
from src.report.sections.claims import claims
from src.report.sections.curves import told
from src.report.sections.verdict import results

SECONDS = 60.0  # in all; a server that takes longer is given up


def publish(analysis: Analysis, project: str | None, seconds: float = SECONDS) -> str:
    """Make the report; returns the lines to print: its address, or why there is none, and how to send offline runs."""
    waiting = offline_runs(analysis)
    send = f"W&B: {count(len(waiting), 'run')} kept offline; send with: wandb sync {' '.join(map(str, waiting))}"
    return "\n".join([*[send] * bool(waiting), _made(analysis, project, seconds)])


def _made(analysis: Analysis, project: str | None, seconds: float) -> str:
    if not find_spec("wandb_workspaces"):
        return "W&B: no report made: pip install 'grpo-lab[wandb-report]'"
    import wandb

    if not wandb.login(prompt=False, verify=False):
        return "W&B: no report made: no login; set WANDB_API_KEY or run wandb login, then run this again"
    return _in_time(analysis, project, seconds)


def offline_runs(analysis: Analysis) -> list[Path]:
    """Folders of W&B runs that were kept on this machine."""
    return [path for run in analysis.runs for path in sorted((run.folder / "wandb").glob("offline-run-*")) if path.is_dir()]


def _in_time(analysis: Analysis, project: str | None, seconds: float) -> str:
    """Save the report in a thread that can be left behind: W&B's client retries for longer than anyone waits."""
    outcome: list[str] = []

    def work() -> None:
        try:
            outcome.append(f"W&B report: {_save(analysis, project)}")
        except Exception as error:  # noqa: BLE001 - whatever W&B raises, the page is there
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            outcome.append(f"W&B: no report made ({type(error).__name__}: {first}); the page is complete without it")

    thread = threading.Thread(target=work, name="wandb-report", daemon=True)
    thread.start()
    thread.join(seconds)
    return outcome[0] if outcome else f"W&B: no report made: no answer in {seconds:.0f} s; the page is complete without it"


def _save(analysis: Analysis, project: str | None) -> str:
    import wandb

    api = wandb.Api(timeout=max(1, int(SECONDS / 4)))
    entity, name = destination(analysis, project, api.default_entity)
    report = build(analysis, entity, name)
    report.save()
    return report.url


def destination(analysis: Analysis, project: str | None, default_entity: str) -> tuple[str, str]:
    """Entity and project: as asked, else the ones that the runs were tracked under."""
    if project:
        entity, _, name = project.rpartition("/")
        return entity or default_entity, name
    tracked = [run.summary["wandb"] for run in analysis.runs if "wandb" in run.summary]
    names, entities = ([one[key] for one in tracked if one.get(key)] for key in ("project", "entity"))
    return (entities or [default_entity])[0], (names or ["grpo-lab"])[0]


def build(analysis: Analysis, entity: str, project: str) -> Any:
    """The report as wandb-workspaces has it, not yet saved."""
    import wandb_workspaces.reports.v2 as reports

    ids = ", ".join(repr(run.summary["wandb"]["id"]) for run in analysis.runs if "wandb" in run.summary)
    runs = reports.Runset(entity=entity, project=project, name="compared runs", filters=f"ID in [{ids}]")
    panels = [reports.LinePlot(title=metric, x="Step", y=[metric]) for metric, *_ in told(analysis)]
    blocks: list[Any] = [reports.H1("Verdict"), reports.P(subtitle(analysis)), reports.P(str(analysis.answer))]
    for heading, words in analysis.sentences:
        blocks += [reports.H2(heading), *map(reports.P, words)]
    blocks += [reports.P(note) for note in notes(analysis)]
    blocks += [reports.H1("Runs"), reports.PanelGrid(runsets=[runs], panels=panels)]
    for table in (results(analysis), claims(analysis)):
        if table.rows:
            blocks += [reports.H1(table.title), reports.MarkdownBlock(f"{table.note}\n\n{table.markdown()}")]
    return reports.Report(project=project, entity=entity, title=TITLE, description=subtitle(analysis), blocks=blocks)
