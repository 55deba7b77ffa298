"""The pictures: bandwidth by K, passes against their products, fits by time and distance, growth by size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from PIL import Image  # which matplotlib itself needs

from bench.contenders import CONTENDERS, OURS
from bench.goals import LEVEL
from bench.report import machine_line
from bench.results import bandwidth, copy_bandwidth, excess, groups, spaced
from bench.scaling import by_axis, seconds_by_threads, slope, upper_half

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

    from bench.results import Entry

    Members = dict[tuple[str, ...], dict[str, Entry]]

COLOURS = dict(zip(CONTENDERS, ("#c1272d", "#9a9a9a", "#3a78b5", "#d98f1f", "#6a4c93", "#2a8f7a")))
MARKERS = dict(zip(CONTENDERS, "osD^vP"))
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
LIBRARY_COLOURS = COLOURS | {"sklearnex": "#7a9a01", "cyanure": "#111111"}
DASHES = {
    "auto": "-",
    "lbfgs": (0, (4, 1.5)),
    "newton-cg": (0, (1.5, 1.5)),
    "newton-cholesky": (0, (5, 1.5, 1, 1.5)),
    "saga": (0, (8, 3)),
}
THREAD_COLOURS, THREAD_MARKERS = ("#3a78b5", "#c1272d"), "so"
FLOOR = 1e-9  # where a fit is drawn whose excess is none
N_COLOURS = 48
LEAST_WIDTH = 6.4  # inches that the legend and the machine's line take


def draw(card: dict[str, Any], entries: list[Entry], folder: Path, stem: str) -> list[Path]:
    """Draw a picture a family that was run, but memory, and say where they are.

    Row kernels and passes have a picture a dtype, and times to the optimum one a penalty besides.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "rows": rows_figure,
        "passes": passes_figure,
        "fits": fits_figure,
        "scaling": scaling_figure,
        "optimum": optimum_figure,
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
    figure = Figure(figsize=(max(width * columns, LEAST_WIDTH), tall), layout="constrained")
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


def rows_figure(members: Members) -> Figure:
    """Draw GB/s by K, with the copy as the limit; calls too short to move anything are left out."""
    large = {key: group for key, group in members.items() if any_of(group).noted["bytes"] > 1e6}
    members = large or members
    split = panels(members, lambda key: f"{key[3]}, {key[2]}")
    sizes = [any_of(group).noted["shape"][1] for group in members.values()]
    columns = 4 if len(split) in (4, 7, 8) else 3  # the fewest empty places
    figure, axes = canvas(len(split), 3.2, 2.9, columns, sharex=True, sharey=True)
    for axis, (title, groups_) in zip(axes, split.items()):
        rows_panel(axis, groups_)
        axis.set(title=title, xscale="log", yscale="log", xlim=(min(sizes) / 1.7, max(sizes) * 1.7))
        plain(axis.xaxis, subs=(1,))
        plain(axis.yaxis, subs=(1, 3))
    for lowest in axes[-columns:]:  # also those that stand over an empty place
        lowest.tick_params(labelbottom=True)
        lowest.set_xlabel("classes K")
    for leftmost in axes[::columns]:
        leftmost.set_ylabel("GB/s that have to move")
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
        entry = group.get(OURS) or any_of(group)
        limits[entry.noted["shape"][1]] = copy_bandwidth(entry)
    dashes = {"color": INK, "linestyle": (0, (4, 3)), "linewidth": 1, "zorder": 5}
    axis.plot(*zip(*sorted(limits.items())), **dashes, label="copy")


def passes_figure(members: Members) -> Figure:
    """Draw the time of a pass as a multiple of its products; a line of panels is as high as its largest."""
    split = panels(members, lambda key: f"{key[3]}, {key[2]}")
    counts = [len(groups_) for groups_ in split.values()]
    most = [max(counts[i - i % 2 : i - i % 2 + 2]) for i in range(len(counts))]
    heights = [0.62 * count + 0.8 for count in most[::2]]
    figure, axes = canvas(len(split), 5.4, sum(heights) / len(heights), columns=2, height_ratios=heights)
    for axis, (title, groups_), largest in zip(axes, split.items(), most):
        passes_panel(axis, groups_)
        axis.set_ylim(largest - 0.5, -0.5)
        yardstick = any_of(next(iter(groups_.values()))).noted["yardstick"]
        axis.set(title=title, xlabel=f"time ÷ {yardstick.replace('_', ' ')}")
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
            beside["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}  # over the dashes
            axis.annotate(f"{ratio.median:.2f}", (ratio.high, place), **beside)
    axis.axvline(1, color=INK, linestyle=(0, (4, 3)), linewidth=1, label="products alone")
    axis.set_yticks(range(len(members)), [spaced(problem) for _, problem, _, _ in members])
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
        axis.set_ylim(FLOOR / 3, max(axis.get_ylim()[1], 1000 * FLOOR))
        axis.margins(x=0.2)
        plain(axis.xaxis, subs=(1, 2, 5))
    axes[0].set_ylabel("(F − F*) / F*, F* the best of the run")
    legend(figure, axes)
    return figure


def optimum_figure(members: Members) -> Figure:
    """Draw relative suboptimality against seconds, a panel a set; dots mark 10⁻⁶."""
    columns = 4
    figure, axes = canvas(len(members), 3.1, 2.5, columns, sharey=True)
    for axis, (key, group) in zip(axes, members.items()):
        for entry in sorted(group.values(), key=lambda entry: entry.contender):
            # What "auto" runs lies on it.
            if entry.contender != f"{OURS} lbfgs" or f"{OURS} auto" not in group:
                optimum_curve(axis, entry)
        axis.axhline(LEVEL, color=INK, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
        axis.set(title=f"{key[1]}, {key[3]}", xscale="log", yscale="log")
        axis.set_ylim(FLOOR / 2, 10)
        plain(axis.xaxis, subs=(1,))
    for lowest in axes[-columns:]:
        lowest.set_xlabel("seconds")
    for leftmost in axes[::columns]:
        leftmost.set_ylabel("(F − F*) / F*")
    legend(figure, axes, columns=max(2, int(figure.get_figwidth() / 2.2)))
    return figure


def optimum_curve(axis: Axes, entry: Entry) -> None:
    """Draw a contender's points; a colour a library, and a dash a solver, of which "auto" is whole."""
    library, solver = entry.contender.split()
    points = [(seconds, max(excess, FLOOR)) for seconds, excess, _ in entry.noted["points"]]
    if not points:
        return
    ours = library == OURS
    look = {"color": LIBRARY_COLOURS[library], "linestyle": DASHES[solver], "zorder": 4 if ours else 3}
    look |= {"linewidth": 2.0} if ours else {"linewidth": 1.2, "marker": ".", "markersize": 4}
    axis.plot(*zip(*points), label=entry.contender, **look)


def scaling_figure(members: Members) -> Figure:
    """Draw seconds by size, a panel for each thing that grows, with what the machine's rates predict."""
    axes_of = by_axis([entry for group in members.values() for entry in group.values()])
    figure, axes = canvas(len(axes_of), 3.8, 3.0, columns=2)
    for axis, (name, points) in zip(axes, axes_of.items()):
        scaling_panel(axis, points)
        axis.set(title=scaling_title(name, points), xlabel=name, xscale="log", yscale="log")
        wide = points[-1].noted["size"] > 200 * points[0].noted["size"]
        plain(axis.xaxis, subs=(1,) if wide else (1, 3))
        plain(axis.yaxis, subs=(1, 3))
    for leftmost in axes[::2]:
        leftmost.set_ylabel("milliseconds a pass")
    legend(figure, axes)
    return figure


def scaling_panel(axis: Axes, points: list[Entry]) -> None:
    """Draw a line a number of threads, thicker where its slope was taken."""
    sizes, part = [entry.noted["size"] for entry in points], upper_half(points)
    looks = zip(THREAD_COLOURS, THREAD_MARKERS)
    for (label, seconds), (colour, marker) in zip(seconds_by_threads(points).items(), looks):
        milliseconds = [1e3 * each for each in seconds]
        axis.plot(sizes, milliseconds, label=label, color=colour, marker=marker, markersize=4, linewidth=1)
        axis.plot(sizes[part], milliseconds[part], color=colour, linewidth=2.4)
    limit = [1e3 * entry.noted["predicted_seconds"] for entry in points]
    axis.plot(sizes, limit, label="predicted", color=INK, linestyle=(0, (4, 3)), linewidth=1)


def scaling_title(name: str, points: list[Entry]) -> str:
    """Say what grows and what does not, and below that how steeply."""
    sizes, part = [entry.noted["size"] for entry in points], upper_half(points)
    slopes = (
        f"{slope(sizes[part], seconds[part]):.2f} ({label})"
        for label, seconds in seconds_by_threads(points).items()
    )
    return f"{name} grows; {points[0].noted['fixed']}\nslope " + ", ".join(slopes)
