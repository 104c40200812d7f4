"""The page: one file with everything in it, and beside it the same figures, tables and words as files."""

import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from src.common.files import write_whole
from src.common.screen import count
from src.drawing.chart import colour_of
from src.drawing.images import write_images
from src.drawing.table import write_tables
from src.report.analysis import Analysis
from src.report.findings.effects import incomplete
from src.report.section import Part, parts
from src.report.sections import SECTIONS
from src.report.sections.problems import problem_views
from src.report.sections.shown import SHOWN_AT_FIRST, shown_at_first

OUTCOMES = (
    "better",
    "worse",
    "not resolved",
    "better, these weights",
    "worse, these weights",
    "supported",
    "contradicted",
    "undecided",
    "not measured",
)
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

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)
    shown, problems = shown_at_first(analysis), problem_views(analysis)
    content = {
        "figures": {figure.name: figure.spec for part in found for figure in part.figures},
        "shown": shown,
        "configurations": [c.label for c in analysis.configurations],
        "problems": problems,
    }
    legend = [
        {"label": c.label, "colour": colour_of(number), "shown": c.label in shown}
        for number, c in enumerate(analysis.configurations)
    ]
    return environment.from_string(_file("page.html.j2")).render(
        title=TITLE,
        subtitle=subtitle(analysis),
        parts=found,
        live=live,
        answer=analysis.answer,
        sentences=analysis.sentences,
        notes=notes(analysis),
        legend=legend,
        most_shown=SHOWN_AT_FIRST,
        problems=problems,
        outcomes=OUTCOMES,
        data=Markup(_json(content)),
        css=Markup(_file("page.css")),
        js=Markup(_file("page.js")),
        bundle=Markup(bundle()),
        footer=footer(analysis),
    )


def _json(content: Any) -> str:
    # "</" would end the script element that holds it.
    return (
        json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        .replace("</", "<\\/")
        .replace("<!--", "<\\u0021--")
    )


def _file(name: str) -> str:
    return resources.files("src.report").joinpath("template", name).read_text(encoding="utf-8")


@cache
def bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script."""
    import vl_convert

    return vl_convert.javascript_bundle(None).replace("</script", "<\\/script")


def subtitle(analysis: Analysis) -> str:
    """What was read, in one line."""
    measured = sum(bool(run.measures) for run in analysis.runs)
    scales = ", ".join(sorted({run.summary["scale"] for run in analysis.runs}))
    words = [
        f"{count(len(analysis.runs), 'run')} of {count(len(analysis.configurations), 'configuration')} at scale {scales}",
        f"{measured} measured to the end",
    ] if analysis.runs else []
    if models := {label for group in analysis.models for label in group.measures}:
        words.append(f"{count(len(models), 'model')} measured without training")
    if analysis.sweeps:
        words.append(count(len(analysis.sweeps), "sweep"))
    if analysis.left_out:
        words.append(f"{count(len(analysis.left_out), 'record')} left out")
    return "; ".join(words)


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def notes(analysis: Analysis) -> list[str]:
    """What a reader must know before using the verdict."""
    found = [*analysis.apart, *incomplete(analysis.ranked)]
    if any(run.summary["scale"] == "micro" for run in analysis.runs):
        found.append(
            "Scale micro is a model of under a million parameters on generated arithmetic: what it shows is shown of that model."
        )
    found += gone_wrong(analysis)
    if analysis.ranked:
        found.append(
            f"Verdicts are wrong in 5 % of studies that are looked at {_times(analysis.looks)}. Who then adds seeds looks once more, and "
            "says so with --looks."
        )
    return found


def gone_wrong(analysis: Analysis) -> list[str]:
    """A sentence on the runs that the monitor had something to say of."""
    alarmed = [run for run in analysis.runs if run.summary.get("stability", {}).get("alarms")]
    if not alarmed:
        return []
    told = []
    for run in alarmed[:ALARMED_NAMED]:
        first = run.summary["stability"]["alarms"][0]
        told.append(f"{run.folder.parent.name}/{run.folder.name}: {first['says']}, since step {first['since']}")
    rest = len(alarmed) - len(told)
    more = f"; and {count(rest, 'other')}" if rest else ""
    return [f"{count(len(alarmed), 'run')} of {len(analysis.runs)} went wrong on the way: {'; '.join(told)}{more}."]


def footer(analysis: Analysis) -> str:
    commits = sorted({str(run.summary.get("commit", "unknown"))[:12] for run in analysis.runs})
    return (
        "Intervals: Student's t over seeds and problems crossed, paired by both; with single seeds over problems alone. p-values: "
        "of the same t, Holm-corrected, the spread between seeds being at least the mean of all; never below four times that by a "
        f"comparison's own spread. Code: {', '.join(commits[:4])}."
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
