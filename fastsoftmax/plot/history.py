"""The history of a fit: its objective and its distance from the optimum, pass by pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.plot.canvas import BLUE, GREY, new_figure, tidy
from fastsoftmax.plot.models import history_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Record

_UNITS = {"passes": "passes over the data", "seconds": "seconds"}
MAX_MARKERS = 60  # more points than this run into a thick line


def loss_curve(history: Sequence[Record] | Any, *, title: str | None = None) -> Figure:
    """Draw the convergence of a fit: its objective and its gap, against passes and against time.

    Above, the objective F. Below, on a logarithmic scale, the certified gap F − L, where
    L = maxᵢ (Fᵢ − gapᵢ) is the best lower bound of the optimum that the fit found, and the norm of the
    gradient. On the left against passes over the data, on the right against seconds.

    Parameters
    ----------
    history : sequence of Record, or SoftmaxRegression
        `SoftmaxRegression.history_`: at least one record. Or the fitted model itself, or a pipeline that ends
        in it.
    title : str, optional
        A line above the picture.

    Returns
    -------
    figure : matplotlib.figure.Figure
        1200 by 760 pixels as it is saved by default.

    Raises
    ------
    ValueError
        The history is empty.
    TypeError
        It is neither records nor a model that has them.
    sklearn.exceptions.NotFittedError
        The model is not fitted.
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> from fastsoftmax.contracts import Record
    >>> path = [Record(0.1, 2.3, 0.9, 1.5, 1), Record(0.2, 1.1, 0.1, 0.02, 5)]
    >>> figure = loss_curve(path)
    >>> [each.get_xlabel() for each in figure.axes[2:]]
    ['passes over the data', 'seconds']
    """
    history = history_of(history)
    figure = new_figure(12, 7.6)
    grid = figure.subplots(2, 2, sharex="col", sharey="row")
    for column, unit in enumerate(_UNITS):
        upper, lower = grid[:, column]
        draw_objective(upper, history, unit)
        _draw_distance(lower, history, unit)
        upper.set_xlabel("")  # it stands below
    for axes in grid[:, 1]:
        axes.set_ylabel("")  # it stands on the left
    grid[1, 0].legend(frameon=False)
    if title is not None:
        figure.suptitle(title, fontsize=13)
    return figure


def draw_history(figure: Figure, place: SubplotSpec, history: Sequence[Record]) -> None:
    """Draw objective and distance against passes, one above the other, in a place of a figure."""
    places = place.subgridspec(2, 1)
    upper = figure.add_subplot(places[0])
    lower = figure.add_subplot(places[1], sharex=upper)
    draw_objective(upper, history, "passes")
    _draw_distance(lower, history, "passes")
    upper.set_xlabel("")  # it stands below, with the numbers
    upper.tick_params(labelbottom=False)
    short = ["certified gap (nats)", "gradient norm"][-len(lower.lines) :]
    lower.legend(lower.lines, short, frameon=False, loc="upper right")


def draw_objective(axes: Axes, history: Sequence[Record], unit: str) -> None:
    """Draw F against "passes" or "seconds"."""
    objective = _column(history, "objective")
    axes.plot(_column(history, unit), objective, color=BLUE, **_style(history))
    last = history[-1]
    cost = f"{last.passes} passes" if unit == "passes" else f"{last.seconds:.3g} s"
    axes.set_title(f"Objective: {last.objective:.6g} nats after {cost}", fontsize=11)
    axes.set(xlabel=_UNITS[unit], ylabel="objective F (nats)")
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.set_xlim(left=0)
    tidy(axes, grid=True)


def _draw_distance(axes: Axes, history: Sequence[Record], unit: str) -> None:
    """Draw the certified gap, where there is one, and the norm of the gradient."""
    at, style = _column(history, unit), _style(history)
    gap = _certified_gap(history)
    if gap is not None:
        axes.plot(at, gap, color=BLUE, label="certified gap: F − best lower bound (nats)", **style)
    axes.plot(at, _positive(_column(history, "grad_norm")), color=GREY, label="gradient norm ‖∇F‖", **style)
    axes.set(xlabel=_UNITS[unit], ylabel="distance from the optimum", yscale="log")
    tidy(axes, grid=True)


def _column(history: Sequence[Record], name: str) -> NDArray[np.float64]:
    return np.array([getattr(record, name) for record in history], dtype=float)


def _style(history: Sequence[Record]) -> dict[str, Any]:
    # One record is a point, not a line: without a marker nothing would be seen.
    return {"marker": "o", "markersize": 4 if len(history) <= MAX_MARKERS else 0, "linewidth": 1.8}


def _certified_gap(history: Sequence[Record]) -> NDArray[np.float64] | None:
    """Return F − max(F − gap) for every record, or None where no record has a gap."""
    known = [record.objective - record.gap for record in history if record.gap is not None]
    if not known:
        return None
    bound = max(known)
    # where the bound comes from, F − (F − gap) would lose the digits that `gap` still has
    exact = [
        record.gap if record.gap is not None and record.objective - record.gap == bound else None
        for record in history
    ]
    gaps = [record.objective - bound if gap is None else gap for record, gap in zip(history, exact)]
    return _positive(np.array(gaps))


def _positive(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leave a hole for what a logarithmic axis cannot show (an exact zero at the optimum)."""
    return np.where(values > 0, values, np.nan)
