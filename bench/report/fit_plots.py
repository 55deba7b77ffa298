"""Pictures of fits: after how long they stopped and where, and their way to the optimum."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.contenders import OURS
from bench.report.canvas import COLOURS, INK, canvas, legend, look_of, plain
from bench.report.comparisons import excess
from bench.report.goals import LEVEL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bench.measure.results import Entry
    from bench.report.canvas import Members

LIBRARY_COLOURS = COLOURS | {
    "sklearnex": "#7a9a01",
    "cyanure": "#111111",
    "glmnet": "#3a78b5",
    "adelie": "#b0548f",
}
DASHES = {
    "auto": "-",
    "proximal-newton": "-",
    "path": (0, (3, 1)),
    "lbfgs": (0, (4, 1.5)),
    "newton-cg": (0, (1.5, 1.5)),
    "newton-cholesky": (0, (5, 1.5, 1, 1.5)),
    "saga": (0, (8, 3)),
}
FLOOR = 1e-9  # where a fit is drawn whose excess is none


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
