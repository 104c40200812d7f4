"""The page: one file with everything in it, and beside it the same figures, tables and words as files."""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from src.common.files import write_whole
from src.drawing.chart import Figure, colour_of
from src.drawing.images import write_images
from src.drawing.table import Table
from src.report.analysis import Analysis
from src.report.findings.effects import incomplete
from src.report.sections import all_figures, all_tables
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
CLOSED = (
    "shared_settings",
    "published_open_rs_checkpoints",
    "published_scaling_law_params",
    "published_scaling_data_reuse",
    "published_scaling_final_pass1",
)
ALARMED_NAMED = 5  # runs that went wrong, in the note on them
TITLE = "What works, with error bars"


@dataclass(frozen=True)
class Section:
    """A part of the page. `legend` is for parts whose figures show configurations."""

    id: str
    title: str
    lead: str
    figures: list[Figure]
    tables: list[Table]
    legend: bool = False


def write_report(analysis: Analysis, folder: Path) -> Path:
    """Write index.html, report.md, figures/ and tables/ into `folder`; returns the path of the page."""
    tables, figures = all_tables(analysis), all_figures(analysis)
    page = folder / "index.html"
    html = render(analysis, tables, figures)
    write_whole(page, lambda path: path.write_text(html, encoding="utf-8"))
    text = markdown(analysis, tables)
    write_whole(folder / "report.md", lambda path: path.write_text(text, encoding="utf-8"))
    for each in tables:
        content = each.csv()
        write_whole(
            folder / "tables" / f"{each.name}.csv", lambda path, c=content: path.write_text(c, encoding="utf-8")
        )
    write_images(figures, folder / "figures")
    return page


def sections(analysis: Analysis, tables: list[Table], figures: list[Figure]) -> list[Section]:
    """The parts of the page that have something to show, in order."""
    by_name = {each.name: each for each in tables}

    def part(id: str, title: str, lead: str, *names: str, legend: bool = False) -> Section:
        chosen = [by_name[name] for name in names if name in by_name]
        return Section(id, title, lead, [f for f in figures if f.section == id], chosen, legend)

    published = [name for name in by_name if name.startswith("published_") and name != "published_costs"]
    parts = [
        part("verdict", "Verdict", "", "results", "pairs", "limits"),
        part(
            "curves",
            "Learning curves",
            "Mean over seeds; the band reaches from the lowest seed to the highest.",
            legend=True,
        ),
        part("fronts", "Accuracy against length, cost and samples", "", "several_samples", legend=True),
        part(
            "efficiency",
            "What shorter answers cost",
            "Runs under length pressure (reward.alpha) against their base, and against two controls: training on its shortest "
            "correct answers, and its answers cut at a limit.",
            *(name for name in by_name if name.startswith("efficiency")),
        ),
        part("sweeps", "Sweeps", "What each choice does.", "effects", "factor_levels", "importances", "trials"),
        part("scaling", "Scaling laws", "", *(name for name in by_name if name.startswith("scaling_"))),
        part("problems", "Problems gained and lost", "Each problem of a suite, before and after training."),
        part("levels", "By level", "", "levels"),
        part("cost", "Cost", "", "costs", "published_costs"),
        part("configurations", "Configurations", "", "configurations", "shared_settings"),
        part(
            "claims",
            "Claims",
            "Published claims, tested on one's own runs. Published figures follow, with their protocols.",
            "claims",
            *published,
        ),
        part("left", "Left out", "", "left_out"),
    ]
    return [p for p in parts if p.figures or p.tables or p.id == "verdict" or (p.id == "problems" and analysis.ranked)]


def render(analysis: Analysis, tables: list[Table], figures: list[Figure]) -> str:
    """The whole page as text."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)
    shown, problems = shown_at_first(analysis), problem_views(analysis)
    content = {
        "figures": {figure.name: figure.spec for figure in figures},
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
        sections=sections(analysis, tables, figures),
        sentences=analysis.sentences,
        notes=notes(analysis),
        legend=legend,
        most_shown=SHOWN_AT_FIRST,
        problems=problems,
        outcomes=OUTCOMES,
        closed=CLOSED,
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

    return vl_convert.javascript_bundle().replace("</script", "<\\/script")


def subtitle(analysis: Analysis) -> str:
    """What was read, in one line."""
    measured = sum(bool(run.measures) for run in analysis.runs)
    scales = ", ".join(sorted({run.summary["scale"] for run in analysis.runs}))
    words = [
        f"{_number(len(analysis.runs), 'run')} of {_number(len(analysis.configurations), 'configuration')} at scale {scales}",
        f"{measured} measured to the end",
    ]
    if analysis.sweeps:
        words.append(_number(len(analysis.sweeps), "sweep"))
    if analysis.left_out:
        words.append(f"{_number(len(analysis.left_out), 'record')} left out")
    return "; ".join(words)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _number(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def notes(analysis: Analysis) -> list[str]:
    """What a reader must know before using the verdict."""
    found = [*analysis.apart, *incomplete(analysis.ranked)]
    if any(run.summary["scale"] == "micro" for run in analysis.runs):
        found.append(
            "Runs at scale micro train a model of under a million parameters on generated arithmetic: what they show is shown of that model."
        )
    found += gone_wrong(analysis)
    if analysis.ranked:
        found.append(
            f"Verdicts are wrong in 5 % of studies that are looked at {_times(analysis.looks)}. Who adds seeds because of what is read "
            "here looks once more, and says so with --looks."
        )
    if not analysis.ranked:
        found.append("No run was measured to its end, so there is no verdict yet.")
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
    more = f"; and {_number(rest, 'other')}" if rest else ""
    return [f"{_number(len(alarmed), 'run')} of {len(analysis.runs)} went wrong on the way: {'; '.join(told)}{more}."]


def footer(analysis: Analysis) -> str:
    commits = sorted({str(run.summary.get("commit", "unknown"))[:12] for run in analysis.runs})
    return (
        "Intervals: Student's t over seeds and problems crossed, paired by both; with single seeds over problems alone. p-values: "
        f"of the same t, Holm-corrected, the spread between seeds being at least the mean of all. Code: {', '.join(commits[:4])}."
    )


def markdown(analysis: Analysis, tables: list[Table]) -> str:
    """report.md: the verdict and the short tables."""
    lines = [f"# {TITLE}", "", subtitle(analysis), ""]
    for heading, words in analysis.sentences:
        lines += [f"**{heading}**", "", *[f"- {sentence}" for sentence in words], ""]
    lines += [f"> {note}" for note in notes(analysis)] + [""]
    for each in tables:
        if each.name in ("results", "limits", "efficiency", "effects", "factor_levels", "claims", "left_out"):
            lines += [f"## {each.title}", "", each.markdown(), ""]
    return "\n".join(lines)
