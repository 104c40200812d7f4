"""The site of these pages: `python -m sphinx docs site`. The reference of every key is made from the code when it is built."""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]

from reference import reference

project = "grpo-lab"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = project
myst_heading_anchors = 3
html_copy_source = False
(DOCS / "reference.md").write_text(reference(), encoding="utf-8")
