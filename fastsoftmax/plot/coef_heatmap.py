"""Coefficients as a heat map: a row a class, or an image a class."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.data.validation import dense
from fastsoftmax.plot.canvas import MAX_NAMES, axes_for, new_figure, set_ticks
from fastsoftmax.plot.models import classifier_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpecBase

    from fastsoftmax.contracts import Array
    from fastsoftmax.plot.models import LinearClassifier


def coefficients(
    model: LinearClassifier, image_shape: tuple[int, int] | None = None, *, ax: Axes | None = None
) -> Figure:
    """Draw the coefficients of a model: a row a class, or, for images, an image a class.

    Parameters
    ----------
    model : classifier, or pipeline that ends in one
        Fitted, with `coef_` (K, d), or (1, d) for two classes.
    image_shape : tuple of int, optional
        (height, width) of the images that the features are the pixels of, row by row.
    ax : matplotlib.axes.Axes, optional
        Where to draw, without `image_shape`; by default in a new figure.

    Returns
    -------
    figure : matplotlib.figure.Figure
        Red is positive (for the class), blue negative, white 0. Colours end at the 99.5th percentile of the
        sizes, so that one odd feature does not whiten the rest. With `ax`, the figure that it is in.

    Raises
    ------
    ValueError
        `image_shape` does not hold as many pixels as there are features, or goes with `ax`.
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> X, y = load_iris(return_X_y=True)
    >>> coefficients(LogisticRegression(max_iter=1000).fit(X, y)).axes[0].get_ylabel()
    'class'
    """
    model = classifier_in(model)
    coef = np.asarray(dense(model.coef_), dtype=float)
    n_rows, n_features = coef.shape
    classes = np.asarray(model.classes_)
    labels = [str(label) for label in classes[-n_rows:]]
    if image_shape is not None:
        if ax is not None:
            raise ValueError("image_shape makes a picture of several axes; it does not go with ax")
        height, width = image_shape
        columns = min(n_rows, 5 if n_rows <= 20 else 10)
        lines = -(-n_rows // columns)
        figure = new_figure(1 + 2.0 * columns, 0.6 + 2.2 * lines * height / width, "compressed")
        draw_images(figure, figure.add_gridspec(lines, columns), coef, labels, image_shape)
        return figure
    names = getattr(model, "feature_names_in_", None)
    named = [] if names is None or n_features > MAX_NAMES else [str(name) for name in names]
    figure, axes = axes_for(ax, 12, float(np.clip(1.8 + 0.4 * n_rows, 3.2, 10)) + (1.4 if named else 0))
    image = axes.imshow(coef, aspect="auto", **_shades(coef))
    set_ticks(axes, labels, "y")
    if named:
        set_ticks(axes, named, "x", rotated=True)
    axes.set(xlabel="feature", ylabel="class")
    axes.set_title(f"Coefficients of {n_features:,} features")
    figure.colorbar(image, ax=axes, fraction=0.03, pad=0.02, extend="both", label="coefficient")
    return figure


def draw_images(
    figure: Figure,
    places: GridSpecBase,
    coef: Array,
    labels: Sequence[str],
    image_shape: tuple[int, int],
) -> None:
    """Draw the coefficients of each class as an image, in the places of a grid, line by line."""
    n_rows, n_features = coef.shape
    if math.prod(image_shape) != n_features:
        raise ValueError(
            f"image_shape {image_shape} has {math.prod(image_shape)} pixels; the model has {n_features} "
            "features"
        )
    grid = [figure.add_subplot(places[divmod(k, places.ncols)]) for k in range(n_rows)]
    for axes, weights, label in zip(grid, coef, labels):
        axes.set_axis_off()
        image = axes.imshow(weights.reshape(image_shape), **_shades(coef))
        axes.set_title(label, fontsize=11)
    figure.colorbar(image, ax=grid, fraction=0.03, pad=0.02, extend="both", label="coefficient")


def _shades(coef: Array) -> dict[str, Any]:
    """Return how `imshow` is to colour coefficients."""
    reach = float(np.quantile(np.abs(coef), 0.995)) or float(np.abs(coef).max()) or 1.0
    return {"cmap": "RdBu_r", "vmin": -reach, "vmax": reach, "interpolation": "nearest"}
