"""The picture of growth: seconds by size, a panel for each thing that grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.canvas import INK, canvas, legend, plain
from bench.report.slopes import by_axis, seconds_by_threads, slope, upper_half

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bench.measure.results import Entry
    from bench.report.canvas import Members

THREAD_COLOURS, THREAD_MARKERS = ("#3a78b5", "#c1272d"), "so"


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
