"""Predictions beside labels: which classes are confused, and how well probabilities are calibrated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts.wording import shown
from fastsoftmax.functional.calibration_error import reliability as binned
from fastsoftmax.plot.canvas import BLUE, GREY, axes_for, new_figure, set_ticks, tidy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

    from fastsoftmax.contracts import Array
    from fastsoftmax.plot.models import Classifier, ProbabilisticClassifier


def confusion(model: Classifier, X: Any, y: ArrayLike, *, ax: Axes | None = None) -> Figure:
    """Draw a confusion matrix: how many rows of each class a model predicts to be of each class.

    Parameters
    ----------
    model : classifier, or pipeline that ends in one
        Fitted.
    X : array_like or sparse matrix (n, d)
        Rows, best ones that it was not fitted on.
    y : array_like (n,)
        Their labels.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default in a new figure.

    Returns
    -------
    figure : matplotlib.figure.Figure
        True classes down, predicted classes across; shades are fractions of the true class. With `ax`, the
        figure that it is in.

    Raises
    ------
    ValueError
        As `model.predict`; y does not fit X.
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> X, y = load_iris(return_X_y=True)
    >>> confusion(LogisticRegression(max_iter=1000).fit(X, y), X, y).axes[0].get_xlabel()
    'predicted class'
    """
    side = confusion_side(len(model.classes_))
    figure, axes = axes_for(ax, side + 1.2, side, "compressed")
    draw_confusion(axes, model, X, y)
    return figure


def confusion_side(n_classes: int) -> float:
    """Return the side of a confusion matrix in inches."""
    return float(np.clip(0.45 * n_classes, 5, 11))


def draw_confusion(
    axes: Axes,
    model: Classifier,
    X: Any,
    y: ArrayLike,
    *,
    names: Mapping[Any, str] | None = None,
    rows: str = "rows",
) -> None:
    """Draw a confusion matrix and its colour bar; `names` replaces the labels of some classes."""
    from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

    y = np.asarray(y)
    predicted = np.asarray(model.predict(X))
    classes = np.union1d(np.asarray(model.classes_), y)
    labels = [(names or {}).get(label, str(label)) for label in classes.tolist()]
    counts = confusion_matrix(y, predicted, labels=classes)
    fraction = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    display = ConfusionMatrixDisplay(fraction, display_labels=labels)
    display.plot(ax=axes, include_values=False, cmap="Blues", colorbar=False)
    display.im_.set_clim(0, 1)
    if len(classes) <= 22:  # beyond it, numbers run into one another
        for row, column in np.argwhere(counts):
            ink = "white" if fraction[row, column] > 0.5 else "#303030"
            axes.text(
                column, row, f"{counts[row, column]}", ha="center", va="center", color=ink, fontsize=8.5
            )
    set_ticks(axes, labels, "x", rotated=True)
    set_ticks(axes, labels, "y")
    axes.set(xlabel="predicted class", ylabel="true class")
    accuracy = float(np.mean(predicted == y))
    axes.set_title(f"{accuracy:.1%} of {len(y):,} {rows} right")
    axes.figure.colorbar(display.im_, ax=axes, fraction=0.046, label="share of the true class")


def reliability(model: ProbabilisticClassifier, X: Any, y: ArrayLike, *, n_bins: int = 10) -> Figure:
    """Draw the observed frequency of events against their predicted probability (a reliability diagram).

    Rows are put into bins by a probability; a point stands at a bin's mean probability and at the fraction of
    its rows for which it came true. For two classes it is the probability of the second, as in
    scikit-learn; for more, that of the class predicted. A model that means what it says is on the diagonal;
    one that is too sure of itself is below.

    Parameters
    ----------
    model : classifier, or pipeline that ends in one
        Fitted, with `predict_proba`.
    X : array_like or sparse matrix (n, d)
        Rows, best ones that it was not fitted on.
    y : array_like (n,)
        Their labels.
    n_bins : int, default 10
        Bins of equal width; those without rows have no point.

    Returns
    -------
    figure : matplotlib.figure.Figure
        Above the diagram, with intervals of 95 % (`fastsoftmax.reliability`); below, the number of rows in
        each bin. The title tells the expected calibration error [1]_: the mean over rows of
        |fraction − mean probability| of a row's bin; and about how much of it chance alone would give.

    Raises
    ------
    ValueError
        As `model.predict_proba`; y does not fit X, or holds a label that is not among `model.classes_`.
    ImportError
        matplotlib is not installed.

    References
    ----------
    .. [1] C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks", ICML
       2017.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from fastsoftmax import SoftmaxRegression
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> reliability(SoftmaxRegression().fit(X, y), X, y).axes[0].get_ylabel()
    'share that is of class 1'
    """
    came_true, probability, event = _forecasts(model, X, y)
    found = binned(came_true, probability, n_bins=n_bins)
    figure = new_figure(6, 6.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    upper.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="as stated")
    reach = (found.fraction - found.lower, found.upper - found.fraction)
    upper.errorbar(
        found.confidence, found.fraction, yerr=reach, color=BLUE, ecolor=BLUE, elinewidth=1, marker="o",
        markersize=5, clip_on=False,
    )  # fmt: skip
    upper.set(ylabel=f"share that is {event}", xlim=(0, 1), ylim=(0, 1.02))
    upper.set_title(
        f"{len(probability):,} rows, expected calibration error {found.expected_calibration_error:.2g}\n"
        f"(chance alone: about {found.by_chance:.2g})",
        fontsize=11,
    )
    centres = found.edges.mean(axis=1)
    lower.bar(centres, found.weight, width=0.92 / n_bins, color=GREY)
    what = "of the predicted class" if event == "right" else event
    lower.set(xlabel=f"mean probability {what}", ylabel="rows")
    for axes in (upper, lower):
        tidy(axes, grid=True)
    return figure


def _forecasts(model: ProbabilisticClassifier, X: Any, y: ArrayLike) -> tuple[NDArray[np.bool_], Array, str]:
    """Return whether each row's event occurred, its predicted probability, and the event's name."""
    y, proba = np.asarray(y), np.asarray(model.predict_proba(X))
    classes = np.asarray(model.classes_)
    if y.shape != (len(proba),):
        raise ValueError(f"y has shape {y.shape}; X with {len(proba)} rows takes ({len(proba)},)")
    unknown = np.setdiff1d(y, classes)
    if len(unknown):
        raise ValueError(f"y holds labels that are not among the model's classes: {shown(unknown[:5])}")
    if len(classes) == 2:
        return y == classes[1], proba[:, 1], f"of class {classes[1]}"
    best = proba.argmax(axis=1)
    return y == classes[best], proba[np.arange(len(proba)), best], "right"
