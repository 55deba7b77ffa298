"""The decision regions of a model of two features."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.plot.canvas import MAX_NAMES, axes_for, colours, new_figure, tidy
from fastsoftmax.plot.history import draw_objective
from fastsoftmax.plot.models import history_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import Array
    from fastsoftmax.estimator import SoftmaxRegression
    from fastsoftmax.plot.models import Classifier

GRID = 401  # points along a side
MAX_LEGEND_CLASSES = 10  # more classes than this would hide the points under their legend


def decision_regions(model: Classifier, X: ArrayLike, y: ArrayLike, *, ax: Axes | None = None) -> Figure:
    """Draw the decision regions of a model of two features, and the points of a data set.

    Parameters
    ----------
    model : classifier, or pipeline that ends in one
        Fitted on two features.
    X : array_like (n, 2)
        The points.
    y : array_like (n,)
        Their labels, among `model.classes_`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default in a new figure.

    Returns
    -------
    figure : matplotlib.figure.Figure
        With `ax`, the figure that it is in.

    Raises
    ------
    ValueError
        X does not have two columns; y does not fit X.
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> X, y = load_iris(return_X_y=True)
    >>> figure = decision_regions(LogisticRegression().fit(X[:, 2:], y), X[:, 2:], y)
    >>> figure.axes[0].get_xlabel()
    'feature 0'
    """
    figure, axes = axes_for(ax, 7.5, 6)
    draw_regions(axes, model, X, y, with_legend=False)
    n_classes = len(model.classes_)
    if n_classes <= MAX_NAMES:
        columns = 1 + (n_classes - 1) // 20
        axes.legend(title="class", frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1), ncols=columns)
    return figure


def boundary_and_loss(model: SoftmaxRegression, X: ArrayLike, y: ArrayLike) -> Figure:
    """Draw a fit of two features as lectures do: the boundaries on the left, the falling loss on the right.

    Parameters
    ----------
    model : SoftmaxRegression, or pipeline that ends in it
        Fitted on two features.
    X : array_like (n, 2)
        The points.
    y : array_like (n,)
        Their labels, among `model.classes_`.

    Returns
    -------
    figure : matplotlib.figure.Figure
        1200 by 500 pixels as it is saved by default.

    Raises
    ------
    ValueError
        X does not have two columns; y does not fit X.
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastsoftmax import SoftmaxRegression
    >>> X, y = load_iris(return_X_y=True)
    >>> figure = boundary_and_loss(SoftmaxRegression().fit(X[:, 2:], y), X[:, 2:], y)
    >>> [each.get_xlabel() for each in figure.axes]
    ['feature 0', 'passes over the data']
    """
    history = history_of(model)
    figure = new_figure(12, 5)
    left, right = figure.subplots(1, 2)
    draw_regions(left, model, X, y)
    draw_objective(right, history, "passes")
    return figure


def draw_regions(
    axes: Axes,
    model: Classifier,
    X: ArrayLike,
    y: ArrayLike,
    *,
    names: Mapping[Any, str] | None = None,
    with_legend: bool = True,
) -> None:
    """Draw regions, their boundaries and the points, which are checked first.

    `names` replaces the labels of some classes in the legend, which lies over the points.
    """
    X, y = np.asarray(X), np.asarray(y)
    if X.ndim != 2 or X.shape[1] != 2:
        raise ValueError(f"X has shape {X.shape}; decision_regions takes (n, 2)")
    if y.shape != (len(X),):
        raise ValueError(f"y has shape {y.shape}; X with {len(X)} rows takes ({len(X)},)")
    low, high = X.min(axis=0).astype(float), X.max(axis=0).astype(float)
    margin = np.where(high > low, 0.08 * (high - low), 1.0)
    across, up = (np.linspace(low[j] - margin[j], high[j] + margin[j], GRID) for j in (0, 1))
    classes = np.asarray(model.classes_)
    order = np.argsort(classes)  # the classes of soft labels in a frame are in the order of its columns
    region = order[np.searchsorted(classes, _predicted(model, across, up), sorter=order)]
    shades = colours(len(classes))
    # one image in true colours: contours between class numbers 0 and 2 would draw a strip of class 1
    faint = 1 - 0.32 * (1 - shades)
    extent = (across[0], across[-1], up[0], up[-1])
    axes.imshow(faint[region], origin="lower", extent=extent, aspect="auto", interpolation="nearest")
    for k, label in enumerate(classes.tolist()):
        points = X[y == label]
        style: dict[str, Any] = {"s": 22, "edgecolor": "white", "linewidth": 0.5}
        style["label"] = (names or {}).get(label, str(label))
        axes.scatter(points[:, 0], points[:, 1], color=shades[k], **style)
    features = getattr(model, "feature_names_in_", ["feature 0", "feature 1"])
    axes.set(xlabel=str(features[0]), ylabel=str(features[1]))
    axes.set_title(f"Regions of {len(classes)} classes, {len(X):,} points", fontsize=11)
    tidy(axes)
    if with_legend and len(classes) <= MAX_LEGEND_CLASSES:
        axes.legend(title="class", framealpha=0.85, edgecolor="none")


def _predicted(model: Classifier, across: Array, up: Array) -> Array:
    """Return the predicted labels of a grid, a row for each element of `up`."""
    grid = np.stack(np.meshgrid(across, up), axis=-1)
    with warnings.catch_warnings():
        # The grid belongs to the model's features in their order; it is no frame that could name them.
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        return np.asarray(model.predict(grid.reshape(-1, 2))).reshape(grid.shape[:2])
