"""The page: one file with everything in it, and beside it the same figures, tables and words as files."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from src.common.files import write_whole
from src.common.screen import count
from src.drawing.chart import colour_of
from src.drawing.images import write_images
from src.drawing.table import write_tables
from src.report.analysis import Analysis
from src.report.findings.effects import incomplete
from src.report.findings.verdict import first_of
from src.report.section import Part, parts
from src.report.sections import SECTIONS
from src.report.sections.problems import problem_views
from src.report.sections.shown import SHOWN_AT_FIRST, shown_at_first

OUTCOMES = (
    "better", "worse", "not resolved", "better, these weights", "worse, these weights",
    "supported", "contradicted", "undecided", "not measured",
)  # fmt: skip
ALARMED_NAMED = 5  # runs that went wrong, in the note on them
TITLE = "What works, with error bars"


def write_report(analysis: Analysis, folder: Path, live: str = "") -> Path:
    """Write index.html, report.md, figures/ and tables/ into `folder`; returns the path of the page.

    A page that is served has the name of its state in `live`, by which it sees that there is a newer one, and no figures/: to
    draw them takes longer than all else.
    """
    found = parts(SECTIONS, analysis)
    page = folder / "index.html"
    html = render(analysis, found, live)
    write_whole(page, lambda path: path.write_text(html, encoding="utf-8"))
    text = markdown(analysis, found)
    write_whole(folder / "report.md", lambda path: path.write_text(text, encoding="utf-8"))
    write_tables((table for part in found for table in part.tables), folder / "tables")
    if not live:
        write_images([figure for part in found for figure in part.figures], folder / "figures")
    return page


def render(analysis: Analysis, found: Sequence[Part], live: str) -> str:
    """The whole page as text."""
    import jinja2
    from markupsafe import Markup

    loader = jinja2.PackageLoader("src.report", "template")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":"), "allow_nan": False}
    content = {
        "figures": {figure.name: figure.spec for part in found for figure in part.figures},
        "shown": shown_at_first(analysis),
        "configurations": [c.label for c in analysis.configurations],
        "problems": problem_views(analysis),
    }
    return environment.get_template("page.html.j2").render(
        title=TITLE,
        subtitle=subtitle(analysis),
        parts=found,
        live=live,
        answer=analysis.answer,
        sentences=analysis.sentences,
        notes=notes(analysis),
        content=content,
        colour_of=colour_of,
        most_shown=SHOWN_AT_FIRST,
        outcomes=OUTCOMES,
        bundle=Markup(bundle()),
        footer=footer(analysis),
    )


@cache
def bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script."""
    import vl_convert

    return vl_convert.javascript_bundle(None).replace("</script", "<\\/script")


def subtitle(analysis: Analysis) -> str:
    """What was read, in one line."""
    measured = sum(bool(run.measures) for run in analysis.runs)
    scales = ", ".join(sorted({run.summary["scale"] for run in analysis.runs}))
    runs = f"{count(len(analysis.runs), 'run')} of {count(len(analysis.configurations), 'configuration')} at scale {scales}"
    words = [runs, f"{measured} measured to the end"] if analysis.runs else []
    if models := {label for group in analysis.models for label in group.measures}:
        words.append(f"{count(len(models), 'model')} measured without training")
    if analysis.sweeps:
        words.append(count(len(analysis.sweeps), "sweep"))
    if analysis.left_out:
        words.append(f"{count(len(analysis.left_out), 'record')} left out")
    return "; ".join(words)


def notes(analysis: Analysis) -> list[str]:
    """What a reader must know before using the verdict."""
    found = [*analysis.apart, *incomplete(analysis.ranked)]
    if any(run.summary["scale"] == "micro" for run in analysis.runs):
        found.append(
            "Scale micro is a model of under a million parameters on generated arithmetic: what it shows is shown of that model."
        )
    found += gone_wrong(analysis)
    if analysis.ranked:
        times = "once" if analysis.looks == 1 else f"{analysis.looks} times"
        found.append(
            f"Verdicts are wrong in 5 % of studies that are looked at {times}. Who then adds seeds looks once more, and "
            "says so with --looks."
        )
    return found


def gone_wrong(analysis: Analysis) -> list[str]:
    """A sentence on the runs that the monitor had something to say of."""
    alarmed = [(run.folder, alarms[0]) for run in analysis.runs if (alarms := run.summary.get("stability", {}).get("alarms"))]
    told = [f"{folder.parent.name}/{folder.name}: {first['says']}, since step {first['since']}" for folder, first in alarmed]
    went_wrong = f"{count(len(alarmed), 'run')} of {len(analysis.runs)} went wrong on the way"
    return [f"{went_wrong}: {first_of(told, ALARMED_NAMED)}."] if told else []


def footer(analysis: Analysis) -> str:
    commits = sorted({str(run.summary.get("commit", "unknown"))[:12] for run in analysis.runs})
    return (
        "Intervals: Student's t over seeds and problems crossed, paired by both; with single seeds over problems alone. p-values: "
        "of the same t, Holm-corrected, the spread between seeds being at least the mean of all and what problems add at least half of "
        f"the median; never below four times that by a comparison's own spread. Code: {', '.join(commits[:4])}."
    )


def markdown(analysis: Analysis, found: Sequence[Part]) -> str:
    """report.md: the answer, the verdict and the short tables."""
    lines = [f"# {TITLE}", "", subtitle(analysis), "", f"**{analysis.answer.use}**: {analysis.answer.rest}", ""]
    for heading, words in analysis.sentences:
        lines += [f"**{heading}**", "", *[f"- {sentence}" for sentence in words], ""]
    lines += [f"> {note}" for note in notes(analysis)] + [""]
    for each in (table for part in found for table in part.tables if table.brief):
        lines += [f"## {each.title}", "", each.markdown(), ""]
    return "\n".join(lines)
