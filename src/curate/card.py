"""The data card: what was read, what each step kept and why not the rest, how the result looks, and hashes of it all."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import yaml

from src.common.errors import UserError
from src.common.files import file_hash, write_json, write_whole
from src.curate.config import CurateConfig
from src.curate.draw import DRAWN
from src.curate.figures import all_figures
from src.curate.pipeline import step_folder
from src.curate.store import Finished
from src.drawing.images import write_images
from src.grading.config import GradingConfig
from src.record.record import commit


def write_card(config: CurateConfig, steps: Sequence[Finished], command: str) -> Path:
    """Write card.md, card.json and figures/ into the output folder; `command` made them. Returns the path of card.md."""
    folder = Path(config.output)
    figures = all_figures(steps)
    files = _files(config, steps)
    lines = [
        f"# {config.name}",
        "",
        f"{steps[0].rows:,} rows read, {steps[-1].kept:,} problems left. Made at commit {commit()} by",
        "",
        f"```\n{command}\n```",
        "",
        *_funnel(steps),
        *_reasons(steps),
        *_use(config),
        "## Figures",
        "",
        *(f"{figure.title}: {figure.caption}\n\n![{figure.title}](figures/{figure.name}.svg)\n" for figure in figures),
        *_hashes(folder, files),
        "## Settings",
        "",
        f"```yaml\n{yaml.safe_dump(config.model_dump(mode='json'), sort_keys=False, allow_unicode=True)}```",
        "",
    ]
    try:
        write_images(figures, folder / "figures")
        write_whole(folder / "card.md", lambda path: path.write_text("\n".join(lines), encoding="utf-8"))
        write_json(folder / "card.json", _content(config, steps, files))
    except OSError as error:
        raise UserError(f"the card cannot be written to {folder} ({error.strerror}); the steps stay finished") from error
    return folder / "card.md"


def _funnel(steps: Sequence[Finished]) -> list[str]:
    published = any(step.published for step in steps)
    head = "| step | problems in | kept | left out | seconds |" + (" published |" if published else "")
    rows = [
        f"| {step.name} | {step.rows:,} | {step.kept:,} | {step.rows - step.kept:,} | {step.seconds:g} |"
        + (f" {step.published or ''} |" if published else "")
        for step in steps
    ]
    return ["## Funnel", "", head, "|" + " --- |" * (head.count("|") - 1), *rows, ""]


def _reasons(steps: Sequence[Finished]) -> list[str]:
    rows = [
        f"| {step.name} | {reason} | {count:,} | {_cell(step.examples[reason][0]['place'])} |"
        for step in steps
        for reason, count in step.dropped.items()
    ]
    notes = [f"- {step.name}: {note}" for step in steps for note in step.notes]
    head = ["## Why problems were left out", "", "| step | reason | problems | first at |", "| --- | --- | --- | --- |"]
    return [*head, *rows, "", *notes, ""] if rows else [*notes, ""]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _files(config: CurateConfig, steps: Sequence[Finished]) -> dict[str, Path]:
    """The results: each role's pool, or what the last step kept."""
    if config.draw is None:
        return {"kept": steps[-1].folder / "kept.parquet"}
    return {role: step_folder(config, "draw") / f"{role}.parquet" for role in config.draw.roles}


def run_command(config: CurateConfig) -> str:
    """A command that trains on the drawn pools."""
    words = ["problems=files", "mix=easy_hard", "mix.size=null"]
    words += [f"problems.pools.{role}.path={_for_hydra(str(path))}" for role, path in _files(config, ()).items()]
    for role in DRAWN:
        if config.draw and role not in config.draw.roles:
            words += [f"~problems.pools.{role}", f"mix.weights.{role}=0"]
    if config.grading != GradingConfig():
        words.append(f"grading.rules={config.grading.rules}")
    return f"python -m src.run {shlex.join(words)}"


def _for_hydra(text: str) -> str:
    """Commas, brackets and such mean something to Hydra unless they are quoted."""
    return text if re.fullmatch(r"[\w./-]+", text) else f'"{text}"'


def _use(config: CurateConfig) -> list[str]:
    return ["## Training on it", "", f"```\n{run_command(config)}\n```", ""] if config.draw else []


def _hashes(folder: Path, files: dict[str, Path]) -> list[str]:
    rows = [f"| {path.relative_to(folder)} | `{file_hash(path)}` |" for path in files.values()]
    return ["## Hashes", "", "| file | SHA-256 |", "| --- | --- |", *rows, ""]


def _content(config: CurateConfig, steps: Sequence[Finished], files: dict[str, Path]) -> dict:
    return {
        "name": config.name,
        "funnel": [
            {"step": step.name, "rows": step.rows, "kept": step.kept, "dropped": step.dropped, "notes": step.notes,
             "published": step.published, "sha256": step.sha256}
            for step in steps
        ],
        "files": {role: {"path": str(path), "sha256": file_hash(path)} for role, path in files.items()},
        "config": config.model_dump(mode="json"),
        "commit": commit(),
    }
