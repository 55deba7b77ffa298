"""The pictures: bandwidth by K, passes against their products, fits by time and distance from the optimum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bench.contenders import CONTENDERS, OURS
from bench.report import machine_line
from bench.results import bandwidth, copy_bandwidth, excess, groups, spaced

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

    from bench.results import Entry

    Members = dict[tuple[str, ...], dict[str, Entry]]

COLOURS = dict(zip(CONTENDERS, ("#c1272d", "#9a9a9a", "#3a78b5", "#d98f1f", "#6a4c93")))
MARKERS = dict(zip(CONTENDERS, "osD^v"))
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
FLOOR = 1e-9  # where a fit is drawn whose excess is none


def draw(card: dict[str, Any], entries: list[Entry], folder: Path, stem: str) -> list[Path]:
    """Draw a picture a family that was run, and say where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for family, figure_of in (("rows", rows_figure), ("passes", passes_figure), ("fits", fits_figure)):
        members = {key: group for key, group in groups(entries).items() if key[0] == family}
        if not members:
            continue
        with mpl.rc_context(STYLE):
            figure = figure_of(members)
            figure.text(0.995, 0.005, machine_line(card), ha="right", va="bottom", size=7, color="#777777")
            written.append(folder / f"{stem}-{family}.png")
            figure.savefig(written[-1])
    return written


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
    """Split groups over panels, in the order of the run."""
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
    figure = Figure(figsize=(width * columns, height * lines + 0.6), layout="constrained")
    figure.get_layout_engine().set(rect=(0, 0.03, 1, 0.97))  # the last line is the machine's
    axes = list(figure.subplots(lines, columns, squeeze=False, **shared).flat)
    for unused in axes[n_panels:]:
        unused.set_visible(False)
    return figure, axes[:n_panels]


def legend(figure: Figure, axes: list[Axes]) -> None:
    """Put one legend over all panels."""
    labelled = {label: handle for a in axes for handle, label in zip(*a.get_legend_handles_labels())}
    names = [*(name for name in CONTENDERS if name in labelled), *sorted(labelled.keys() - set(CONTENDERS))]
    figure.legend([labelled[name] for name in names], names, loc="outside upper left", ncols=len(names))


def plain(axis: Axis, subs: tuple[float, ...]) -> None:
    """Label a logarithmic axis with plain numbers, at these multiples of each power of ten."""
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}" if x >= 1 else f"{x:g}"))
    axis.set_minor_locator(NullLocator())


def rows_figure(members: Members) -> Figure:
    """Draw GB/s by K, with the copy as the limit; calls too short to move anything are left out."""
    large = {key: group for key, group in members.items() if next(iter(group.values())).noted["bytes"] > 1e6}
    by_dtype = dict(sorted((large or members).items(), key=lambda item: item[0][2]))
    split = panels(by_dtype, lambda key: f"{key[3]}, {key[2]}")
    columns = len({key[3] for key in by_dtype})
    figure, axes = canvas(len(split), 3.2, 2.9, columns, sharex=True, sharey=True)
    for axis, (title, groups_) in zip(axes, split.items()):
        rows_panel(axis, groups_)
        axis.set(title=title, xscale="log", yscale="log")
        plain(axis.xaxis, subs=(1,))
        plain(axis.yaxis, subs=(1, 3))
    figure.supxlabel("classes K", size=9)
    figure.supylabel("GB/s of the bytes that have to move", size=9)
    legend(figure, axes)
    return figure


def rows_panel(axis: Axes, members: Members) -> None:
    """Draw a line a contender; whiskers are the range over rounds."""
    for contender in CONTENDERS:
        entries = [group[contender] for group in members.values() if contender in group]
        if not entries:
            continue
        entries.sort(key=lambda entry: entry.noted["shape"][1])
        rates = [bandwidth(entry) for entry in entries]
        middle = [rate.median for rate in rates]
        whiskers = [[r.median - r.low for r in rates], [r.high - r.median for r in rates]]
        sizes = [entry.noted["shape"][1] for entry in entries]
        axis.errorbar(sizes, middle, yerr=whiskers, label=contender, elinewidth=0.8, **look_of(contender))
    limits = {}
    for group in members.values():
        entry = group.get(OURS) or next(iter(group.values()))
        limits[entry.noted["shape"][1]] = copy_bandwidth(entry)
    axis.plot(*zip(*sorted(limits.items())), color=INK, linestyle=(0, (4, 3)), linewidth=1, label="copy")


def passes_figure(members: Members) -> Figure:
    """Draw the time of a pass as a multiple of the two products that it contains."""
    split = panels(members, lambda key: f"{key[3]}, {key[2]}")
    figure, axes = canvas(len(split), 5.4, 0.62 * max(map(len, split.values())) + 0.8, columns=2)
    for axis, (title, groups_) in zip(axes, split.items()):
        passes_panel(axis, groups_)
        axis.set(title=title, xlabel="time ÷ products alone")
    legend(figure, axes)
    return figure


def clusters(members: Members, thick: float) -> dict[str, list[tuple[float, Entry]]]:
    """Place the bars of each contender: cluster i is centred at i, and holds who took part."""
    placed: dict[str, list[tuple[float, Entry]]] = {}
    for i, group in enumerate(members.values()):
        present = [contender for contender in CONTENDERS if contender in group]
        for j, contender in enumerate(present):
            place = i + (j - (len(present) - 1) / 2) * thick
            placed.setdefault(contender, []).append((place, group[contender]))
    return placed


def passes_panel(axis: Axes, members: Members) -> None:
    """Draw a cluster of bars a problem, ours on top; whiskers are the range over rounds."""
    thick = 0.17
    for contender, bars in clusters(members, thick).items():
        places, ratios = zip(*((place, entry.to_yardstick) for place, entry in bars))
        whiskers = [[r.median - r.low for r in ratios], [r.high - r.median for r in ratios]]
        style = {"color": COLOURS[contender], "ecolor": INK, "error_kw": {"elinewidth": 0.8}}
        axis.barh(places, [r.median for r in ratios], 0.9 * thick, xerr=whiskers, label=contender, **style)
        for place, ratio in zip(places, ratios):
            beside = {"xytext": (4, 0), "textcoords": "offset points", "va": "center", "size": 7}
            axis.annotate(f"{ratio.median:.2f}", (ratio.high, place), **beside)
    axis.axvline(1, color=INK, linestyle=(0, (4, 3)), linewidth=1, label="products")
    axis.set_yticks(range(len(members)), [spaced(problem) for _, problem, _, _ in members])
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)


def fits_figure(members: Members) -> Figure:
    """Draw where each fit stopped: after how long, and how far from the best."""
    figure, axes = canvas(len(members), 3.8, 3.3, columns=3)
    for axis, (key, group) in zip(axes, members.items()):
        for entry in group.values():
            height = max(excess(entry, group), FLOOR)
            look = look_of(entry.contender) | {"linestyle": "none"}
            axis.plot(entry.seconds.median, height, label=entry.contender, **look)
        axis.set(title=f"{key[1]}, {key[2]}", xlabel="seconds", xscale="log", yscale="log")
        axis.set_ylim(bottom=FLOOR / 3)
        axis.margins(x=0.2)
        plain(axis.xaxis, subs=(1, 2, 5))
    axes[0].set_ylabel("(F − F*) / F*, F* the best of the run")
    legend(figure, axes)
    return figure
