"""The documents: their links lead somewhere, their site builds, its reference has every group, and every run that they give can be planned."""

import json
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

from src.config.tree import LabConfig
from src.model.places import EMBEDDED

PAGES = [ROOT / "README.md", ROOT / "AGENTS.md", *(page for page in (ROOT / "docs").glob("*.md") if page.name not in ("index.md", "reference.md"))]


def blocks(page) -> list[tuple[str, str]]:
    """Language and text of each block of code."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def runs() -> list[str]:
    """The arguments of each run and sweep that the documents give, but for those of a folder that a reader has, and of
    the page that test_extending.py carries out."""
    lines = [line for page in PAGES if page.name != "extending.md" for language, text in blocks(page) if not language for line in text.replace("\\\n", " ").splitlines()]
    given = [re.sub(r" +#.*", "", line.removeprefix("$ ")) for line in lines]
    asked = {line.removeprefix("python -m src.run ") for line in given if line.startswith("python -m src.run ") and "…" not in line}
    return sorted(line for line in asked if "resume=" not in line and "=<" not in line)


@pytest.mark.parametrize("arguments", runs())
def test_a_run_that_a_document_gives_can_be_planned_as_it_stands(arguments, command_here, tmp_path):
    rows = [{"problem": f"Work from left to right: {n}+3", "answer": str(n + 3)} for n in range(60)]
    for name in ("problems", "test", "hard"):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    shutil.copytree(EMBEDDED["embedded/micro"], tmp_path / "my-model")
    ((_, code),) = [block for block in blocks(ROOT / "docs" / "reward.md") if block[0] == "python"]
    (tmp_path / "mine.py").write_text(code)
    words = shlex.split(arguments)
    planned = command_here(*words, *([] if {"plan=true", "--cfg"} & set(words) else ["plan=true"]), HF_HUB_OFFLINE="1")
    assert planned.returncode == 0, planned.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page):
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", prose)
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_is_short_and_leads_to_every_page():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 200
    assert all(f"docs/{page.name}" in text for page in PAGES if page.parent.name == "docs")


def test_the_site_builds_without_a_warning_and_has_every_group(tmp_path):
    built = subprocess.run([sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", ROOT / "docs", tmp_path], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    page = (tmp_path / "reference.html").read_text(encoding="utf-8")
    assert all(f'id="{name}"' in page or f">{name}<" in page for name in LabConfig.model_fields if name != "choices")
    keys = re.findall(r'<code class="docutils literal notranslate"><span class="pre">([a-z_.&;]+)</span></code></p></td>', page)
    assert {"easy_share", "lora.rank", "validation.samples", "spec.peak_tflops", "heartbeat"} <= set(keys)
