"""One picture of a fit, chosen by the kind of its data, beside the history of the fit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse

from fastsoftmax.data.validation import dense
from fastsoftmax.plot.canvas import new_figure
from fastsoftmax.plot.coef_heatmap import draw_images
from fastsoftmax.plot.history import draw_history, loss_curve
from fastsoftmax.plot.models import classifier_in, history_of
from fastsoftmax.plot.predictions import confusion_side, draw_confusion
from fastsoftmax.plot.regions import draw_regions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec
    from numpy.typing import ArrayLike

    from fastsoftmax.estimator import SoftmaxRegression

MIN_SIDE = 8  # pixels: fewer features that happen to be a square number are no image
SAMPLE_SIZE = 2**22  # numbers of X, to tell images
# Mean squared difference of neighbours, by that of pixels drawn at random from the same row.
MAX_ROUGHNESS = 0.8
# The same across by the same down, or the other way round: a series cut into lines exceeds it.
MAX_DIRECTION_RATIO = 10.0
HISTORY_WIDTH, MIN_HEIGHT = 5.4, 5.8  # inches


def overview(
    model: SoftmaxRegression,
    X: Any,
    y: ArrayLike,
    *,
    X_test: Any = None,
    y_test: ArrayLike | None = None,
    class_names: Sequence[str] | None = None,
    feature_names: Sequence[str] | None = None,
    title: str | None = None,
) -> Figure:
    """Draw a fit by the picture that suits its data, beside the path to its optimum.

    Parameters
    ----------
    model : SoftmaxRegression, or pipeline that ends in it
        Fitted.
    X, y : array_like or sparse matrix (n, d), and array_like (n,) or (n, K)
        What it was fitted on.
    X_test, y_test : the same kinds, optional
        What it was not fitted on.
    class_names : sequence of str, optional
        Names of the labels 0, 1, 2, ...
    feature_names : sequence of str (d,), optional
    title : str, optional
        A line above the picture.

    Returns
    -------
    figure : matplotlib.figure.Figure
        Of two features, the regions of the classes. Of square images (`square_side`), the coefficients as
        images. Of anything else with a label a row, the confusion matrix of the test rows, or of the training
        rows where there are none. On the right, objective and distance from the optimum. Of labels that are a
        matrix, `loss_curve`.

    Raises
    ------
    ValueError
        X or y is not what the model takes.
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fastsoftmax import SoftmaxRegression
    >>> X, y = load_digits(return_X_y=True)
    >>> figure = overview(SoftmaxRegression().fit(X, y), X, y)
    >>> [axes.get_title() for axes in figure.axes[:3]]
    ['0', '1', '2']
    """
    history, classifier = history_of(model), classifier_in(model)
    numbers: Any = X if scipy.sparse.issparse(X) else np.asarray(X)
    names = dict(enumerate(class_names or ()))
    # A pipeline may be fitted on words, and may give its classifier other features than pixels.
    side = square_side(numbers) if numbers.dtype.kind in "biuf" else None
    if np.ndim(y) != 1:
        return loss_curve(history, title=title)
    if numbers.shape[1] == 2:
        figure, left, right = _halves(7, 6)
        axes = figure.add_subplot(left)
        draw_regions(axes, model, dense(numbers), y, names=names)
        if feature_names is not None:
            axes.set(xlabel=feature_names[0], ylabel=feature_names[1])
    elif side is not None and classifier.coef_.shape[1] == side**2:
        coef = np.asarray(dense(classifier.coef_), dtype=float)
        columns = math.ceil(math.sqrt(1.5 * len(coef)))
        lines = -(-len(coef) // columns)
        figure, left, right = _halves(1 + 1.9 * columns, 0.4 + 2.1 * lines)
        labels = [names.get(each, str(each)) for each in np.asarray(model.classes_)[-len(coef) :].tolist()]
        draw_images(figure, left.subgridspec(lines, columns), coef, labels, (side, side))
    else:
        inches = confusion_side(len(model.classes_))
        figure, left, right = _halves(inches + 1.0, inches)
        rows, which = ((X, y), "training rows") if y_test is None else ((X_test, y_test), "test rows")
        draw_confusion(figure.add_subplot(left), model, *rows, names=names, rows=which)
    draw_history(figure, right, history)
    if title is not None:
        figure.suptitle(title, fontsize=13)
    return figure


def _halves(width: float, height: float) -> tuple[Figure, SubplotSpec, SubplotSpec]:
    """Return a figure, a place on the left of that many inches, and one on the right for the history."""
    figure = new_figure(width + HISTORY_WIDTH, max(height, MIN_HEIGHT))
    places = figure.add_gridspec(1, 2, width_ratios=(width, HISTORY_WIDTH))
    return figure, places[0], places[1]


def square_side(X: Any) -> int | None:
    """Return the side of the square images whose pixels the features seem to be, row by row; None if not.

    Pixels of an image resemble their neighbours, across and down; other features that happen to be a square
    number do not. A sample of the rows, evenly spaced, is looked at.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> square_side(load_digits().data)
    8
    >>> square_side(np.random.default_rng(0).random((50, 64))) is None
    True
    """
    n_rows, n_features = X.shape
    side = math.isqrt(n_features)
    if side < MIN_SIDE or side**2 != n_features:
        return None
    step = -(-n_rows * n_features // SAMPLE_SIZE)
    images = dense(X[::step]).astype(np.float64).reshape(-1, side, side)
    spread = 2.0 * images.var(axis=(1, 2)).mean()
    across, down = (np.square(np.diff(images, axis=axis)).mean() for axis in (2, 1))
    smooth = max(across, down) < MAX_ROUGHNESS * spread
    return side if smooth and max(across, down) < MAX_DIRECTION_RATIO * min(across, down) else None
