"""Pictures of row kernels and passes: bandwidth by K, and times as multiples of the products."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.contenders import CONTENDERS, OURS
from bench.report.canvas import COLOURS, INK, any_of, canvas, legend, look_of, panels, plain
from bench.report.comparisons import bandwidth, copy_bandwidth, spaced

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bench.measure.results import Entry
    from bench.report.canvas import Members


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
