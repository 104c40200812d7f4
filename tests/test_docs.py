"""The documents: their links lead somewhere, their site builds, and its reference has every key."""

import re
import subprocess
import sys

import pytest
from conftest import ROOT

from src.config.tree import LabConfig

PAGES = [ROOT / "README.md", ROOT / "AGENTS.md", *(page for page in (ROOT / "docs").glob("*.md") if page.name not in ("index.md", "reference.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page):
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", prose)
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_is_short_and_leads_to_every_page():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 200
    assert all(f"docs/{page.name}" in text for page in PAGES if page.parent.name == "docs")


def test_the_site_builds_without_a_warning_and_explains_every_key(tmp_path):
    built = subprocess.run([sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", ROOT / "docs", tmp_path], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    page = (tmp_path / "reference.html").read_text(encoding="utf-8")
    assert all(f'id="{name}"' in page or f">{name}<" in page for name in LabConfig.model_fields if name != "choices")
    keys = re.findall(r'<code class="docutils literal notranslate"><span class="pre">([a-z_.&;]+)</span></code></p></td>', page)
    assert {"easy_share", "lora.rank", "validation.samples", "spec.peak_tflops", "heartbeat"} <= set(keys)
