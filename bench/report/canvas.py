"""What pictures share: colours and markers, panels, axes and the legend."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bench.contenders import CONTENDERS, OURS

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

    from bench.measure.results import Entry

    Members = dict[tuple[str, ...], dict[str, Entry]]

PALETTE = ("#c1272d", "#9a9a9a", "#3a78b5", "#d98f1f", "#6a4c93", "#2a8f7a", "#8c564b", "#b0a000", "#17a2c8")
COLOURS = dict(zip(CONTENDERS, itertools.cycle(PALETTE)))
MARKERS = dict(zip(CONTENDERS, itertools.cycle("osD^vPXp")))
INK = "#333333"
STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "savefig.dpi": 160,
}
MIN_WIDTH = 6.4  # inches that the legend and the machine's line take


def look_of(contender: str) -> dict[str, Any]:
    """Give a contender's colour and marker; ours lies above the others, and is bolder."""
    ours = contender == OURS
    return {
        "color": COLOURS[contender],
        "marker": MARKERS[contender],
        "linewidth": 2.2 if ours else 1.3,
        "markersize": 6 if ours else 4.5,
        "zorder": 4 if ours else 3,
    }


def panels(members: Members, title_of: Callable[[tuple[str, ...]], str]) -> dict[str, Members]:
    """Split groups over panels or pictures, in the order of the run."""
    split: dict[str, Members] = {}
    for key, group in members.items():
        split.setdefault(title_of(key), {})[key] = group
    return split


def canvas(
    n_panels: int, width: float, height: float, columns: int, **shared: Any
) -> tuple[Figure, list[Axes]]:
    """Give a figure and as many axes as there are panels."""
    columns = min(columns, n_panels)
    lines = -(-n_panels // columns)
    tall = height * lines + 0.6
    figure = Figure(figsize=(max(width * columns, MIN_WIDTH), tall), layout="constrained")
    foot = 0.2 / tall  # the last line is the machine's
    figure.get_layout_engine().set(rect=(0, foot, 1, 1 - foot))
    axes = list(figure.subplots(lines, columns, squeeze=False, **shared).flat)
    for unused in axes[n_panels:]:
        unused.set_visible(False)
    return figure, axes[:n_panels]


def legend(figure: Figure, axes: list[Axes], columns: int | None = None) -> None:
    """Put one legend over all panels, on one line unless it has so many columns."""
    labelled = {label: handle for a in axes for handle, label in zip(*a.get_legend_handles_labels())}
    rest = sorted(labelled.keys() - set(CONTENDERS), key=lambda name: (not name.startswith(OURS), name))
    names = [*(name for name in CONTENDERS if name in labelled), *rest]
    figure.legend(
        [labelled[name] for name in names], names, loc="outside upper left", ncols=columns or len(names)
    )


def plain(axis: Axis, subs: tuple[float, ...]) -> None:
    """Label a logarithmic axis with plain numbers, at these multiples of each power of ten."""
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / 1e6:g} million" if x >= 1e6 else f"{x:,g}"))
    axis.set_minor_locator(NullLocator())


def any_of(group: dict[str, Entry]) -> Entry:
    """Give an entry to read from what all of a group have noted."""
    return next(iter(group.values()))
