"""Figures as files."""

from collections.abc import Sequence
from pathlib import Path

from src.common.files import write_whole
from src.drawing.chart import Figure


def write_images(figures: Sequence[Figure], folder: Path) -> None:
    """Every figure as PNG and SVG, drawn from the specification that the page draws."""
    import vl_convert

    config = {"background": "white"}
    for figure in figures:
        fixed = {"width": 480, "autosize": {"type": "pad"}}  # labels come beside the plot, however long they are
        spec = figure.spec | (fixed if figure.spec.get("width") == "container" else {})
        svg = vl_convert.vegalite_to_svg(spec, config=config)
        write_whole(folder / f"{figure.name}.svg", lambda path, s=svg: path.write_text(s, encoding="utf-8"))
        png = vl_convert.svg_to_png(svg, scale=1.5)
        write_whole(folder / f"{figure.name}.png", lambda path, p=png: path.write_bytes(p))
