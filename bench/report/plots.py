"""The pictures of a result: which there are, and their files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from PIL import Image  # which matplotlib itself needs

from bench.report.canvas import STYLE, panels
from bench.report.cells import machine_line
from bench.report.comparisons import groups
from bench.report.fit_plots import fits_figure, optimum_figure
from bench.report.kernel_plots import passes_figure, rows_figure
from bench.report.scaling_plots import scaling_figure

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from bench.measure.results import Entry

N_COLOURS = 48


def draw(card: dict[str, Any], entries: list[Entry], folder: Path, stem: str) -> list[Path]:
    """Draw a picture a family that was run, but of those that are tables only, and say where they are.

    Row kernels and passes have a picture a dtype, and times to the optimum one a penalty besides.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "rows": rows_figure,
        "passes": passes_figure,
        "fits": fits_figure,
        "scaling": scaling_figure,
        "optimum": optimum_figure,
        "sparse": optimum_figure,
    }
    written = []
    drawn = [entry for entry in entries if entry.family in figures]
    for name, members in panels(groups(drawn), picture_of).items():
        with mpl.rc_context(STYLE):
            figure = figures[name.partition("-")[0]](members)
            figure.text(0.995, 0.005, machine_line(card), ha="right", va="bottom", size=7, color="#777777")
            written.append(folder / f"{stem}-{name}.png")
            save(figure, written[-1])
    return written


def save(figure: Figure, path: Path) -> None:
    """Write a picture in a few dozen colours: a quarter of the bytes, and no difference to see."""
    figure.savefig(path)
    with Image.open(path) as image:
        image.convert("RGB").quantize(N_COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def picture_of(key: tuple[str, ...]) -> str:
    """Name the picture that a group goes to."""
    family, _, dtype, operation = key
    if family == "optimum":
        return f"{family}-{dtype}-{operation.replace(' = ', '')}"
    return f"{family}-{dtype}" if family in ("rows", "passes") else family
