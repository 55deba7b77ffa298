"""Pictures of a fit: its path to the optimum, its regions, its confusions, its coefficients.

Each function returns a `matplotlib.figure.Figure` that belongs to nobody: no window is opened, no current
figure is changed, and `figure.savefig(path)` works with no display. matplotlib is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

    from fastsoftmax.contracts import Record

_BLUE, _GREY = "#1f5fa8", "#8a8a8a"
_MOST_NAMES = 40  # more tick labels than this cannot be read


def require_matplotlib() -> None:
    """Say what must be installed for pictures, if it is not: before long work, and not after.

    Raises
    ------
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> require_matplotlib()
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError('pictures need matplotlib: pip install "fastsoftmax[plot]"') from error


def loss_curve(history: Sequence[Record], *, title: str | None = None) -> Figure:
    """Draw how a fit came near its optimum: against passes over the data, and against time.

    On the left, on a logarithmic scale, the certified gap F − L, where L = maxᵢ (Fᵢ − gapᵢ) is the best
    lower bound of the optimum that the fit found, and the norm of the gradient. On the right, F itself.

    Parameters
    ----------
    history : sequence of Record
        `SoftmaxRegression.history_`: at least one record.
    title : str, optional
        A line above the picture.

    Returns
    -------
    figure : matplotlib.figure.Figure
        1200 by 500 pixels as it is saved by default.

    Raises
    ------
    ValueError
        The history is empty.
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> from fastsoftmax.contracts import Record
    >>> path = [Record(0.1, 2.3, 0.9, 1.5, 1), Record(0.2, 1.1, 0.1, 0.02, 5)]
    >>> figure = loss_curve(path)
    >>> [each.get_xlabel() for each in figure.axes]
    ['passes over the data', 'seconds']
    """
    if len(history) == 0:
        raise ValueError("history is empty; loss_curve takes at least one record")
    figure = _figure(12, 5)
    left, right = figure.subplots(1, 2)
    passes = np.array([record.passes for record in history], dtype=float)
    seconds = np.array([record.seconds for record in history])
    objective = np.array([record.objective for record in history])
    grad_norm = np.array([record.grad_norm for record in history])
    # one record is a point, not a line: without a marker nothing would be seen
    style: dict[str, Any] = {"marker": "o", "markersize": 4 if len(history) < 60 else 0, "linewidth": 1.8}
    gap = _certified_gap(history)
    if gap is not None:
        left.plot(passes, gap, color=_BLUE, label="certified gap: F − best lower bound (nats)", **style)
    left.plot(passes, _positive(grad_norm), color=_GREY, label="gradient norm ‖∇F‖", **style)
    left.set(xlabel="passes over the data", ylabel="distance from the optimum", yscale="log")
    left.set_title("How far from the optimum")
    left.legend(frameon=False)
    right.plot(seconds, objective, color=_BLUE, **style)
    right.set(xlabel="seconds", ylabel="objective F (nats)")
    right.set_title(f"Objective: {objective[-1]:.6g} nats after {seconds[-1]:.3g} s")
    right.ticklabel_format(axis="y", useOffset=False)
    for axes in (left, right):
        _clean(axes)
        axes.grid(color="#e4e4e4", linewidth=0.8)
        axes.set_axisbelow(True)
    left.set_xlim(left=0)
    right.set_xlim(left=0)
    if title is not None:
        figure.suptitle(title, fontsize=13)
    return figure


def decision_regions(model: Any, X: ArrayLike, y: ArrayLike) -> Figure:
    """Draw the regions of the plane that a model gives to each class, and the points of a data set.

    Parameters
    ----------
    model : classifier
        Fitted on two features.
    X : array_like (n, 2)
        The points.
    y : array_like (n,)
        Their labels, among `model.classes_`.

    Returns
    -------
    figure : matplotlib.figure.Figure

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
    X, y = np.asarray(X), np.asarray(y)
    if X.ndim != 2 or X.shape[1] != 2:
        raise ValueError(f"X has shape {X.shape}; decision_regions takes (n, 2)")
    if y.shape != (len(X),):
        raise ValueError(f"y has shape {y.shape}; X with {len(X)} rows takes ({len(X)},)")
    figure = _figure(7.5, 6)
    axes = figure.subplots()
    low, high = X.min(axis=0).astype(float), X.max(axis=0).astype(float)
    margin = np.where(high > low, 0.08 * (high - low), 1.0)
    across, up = (np.linspace(low[j] - margin[j], high[j] + margin[j], 401) for j in (0, 1))
    grid = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    classes = np.asarray(model.classes_)
    region = np.searchsorted(classes, model.predict(grid)).reshape(len(up), len(across))
    colours = _colours(len(classes))
    # one image in true colours: contours between class numbers 0 and 2 would draw a strip of class 1
    faint = 1 - 0.32 * (1 - colours)
    extent = (across[0], across[-1], up[0], up[-1])
    axes.imshow(faint[region], origin="lower", extent=extent, aspect="auto", interpolation="nearest")
    for k, label in enumerate(classes):
        points = X[y == label]
        style: dict[str, Any] = {"s": 22, "edgecolor": "white", "linewidth": 0.5, "label": str(label)}
        axes.scatter(points[:, 0], points[:, 1], color=colours[k], **style)
    names = getattr(model, "feature_names_in_", ["feature 0", "feature 1"])
    axes.set(xlabel=str(names[0]), ylabel=str(names[1]))
    axes.set_title(f"Regions of {len(classes)} classes, {len(X):,} points")
    if len(classes) <= _MOST_NAMES:
        columns = 1 + (len(classes) - 1) // 20
        axes.legend(title="class", frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1), ncols=columns)
    _clean(axes)
    return figure


def confusion(model: Any, X: Any, y: ArrayLike) -> Figure:
    """Draw how many rows of each class a model gives to each class.

    Parameters
    ----------
    model : classifier
        Fitted.
    X : array_like or sparse matrix (n, d)
        Rows, best ones that it was not fitted on.
    y : array_like (n,)
        Their labels.

    Returns
    -------
    figure : matplotlib.figure.Figure
        True classes down, predicted classes across; shades are shares of the true class.

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
    from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

    y = np.asarray(y)
    predicted = np.asarray(model.predict(X))
    classes = np.union1d(np.asarray(model.classes_), y)
    counts = confusion_matrix(y, predicted, labels=classes)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    n_classes = len(classes)
    side = float(np.clip(0.45 * n_classes, 5, 11))
    figure = _figure(side + 1.2, side, "compressed")
    axes = figure.subplots()
    display = ConfusionMatrixDisplay(share, display_labels=classes)
    display.plot(ax=axes, include_values=False, cmap="Blues", colorbar=False)
    display.im_.set_clim(0, 1)
    if n_classes <= 22:  # beyond it, numbers run into one another
        for row, column in np.argwhere(counts):
            ink = "white" if share[row, column] > 0.5 else "#303030"
            axes.text(
                column, row, f"{counts[row, column]}", ha="center", va="center", color=ink, fontsize=8.5
            )
    _tick_some(axes, classes, "x", turned=True)
    _tick_some(axes, classes, "y")
    axes.set(xlabel="predicted class", ylabel="true class")
    accuracy = float(np.mean(predicted == y))
    axes.set_title(f"{accuracy:.1%} of {len(y):,} rows right")
    figure.colorbar(display.im_, ax=axes, fraction=0.046, label="share of the true class")
    return figure


def coefficients(model: Any, image_shape: tuple[int, int] | None = None) -> Figure:
    """Draw the coefficients of a model: a row a class, or, for images, an image a class.

    Parameters
    ----------
    model : classifier
        Fitted, with `coef_` (K, d), or (1, d) for two classes.
    image_shape : tuple of int, optional
        (height, width) of the images that the features are the pixels of, row by row.

    Returns
    -------
    figure : matplotlib.figure.Figure
        Red speaks for a class, blue against it; white is zero. Colours end at the 99.5th percentile of the
        sizes, so that one odd feature does not whiten the rest.

    Raises
    ------
    ValueError
        `image_shape` does not hold as many pixels as there are features.
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
    coef = np.asarray(model.coef_, dtype=float)
    n_rows, n_features = coef.shape
    classes = np.asarray(model.classes_)
    labels = [str(label) for label in (classes if len(classes) == n_rows else classes[-n_rows:])]
    reach = float(np.quantile(np.abs(coef), 0.995)) or float(np.abs(coef).max()) or 1.0
    shades: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -reach, "vmax": reach, "interpolation": "nearest"}
    if image_shape is not None:
        return _coefficient_images(coef, labels, image_shape, shades)
    names = getattr(model, "feature_names_in_", None)
    named = [] if names is None or n_features > _MOST_NAMES else [str(name) for name in names]
    figure = _figure(12, float(np.clip(1.8 + 0.4 * n_rows, 3.2, 10)) + (1.4 if named else 0))
    axes = figure.subplots()
    image = axes.imshow(coef, aspect="auto", **shades)
    _tick_some(axes, labels, "y")
    if named:
        _tick_some(axes, named, "x", turned=True)
    axes.set(xlabel="feature", ylabel="class")
    axes.set_title(f"Coefficients of {n_features:,} features")
    figure.colorbar(image, ax=axes, fraction=0.03, pad=0.02, extend="both", label="coefficient")
    return figure


def _coefficient_images(
    coef: NDArray[Any], labels: Sequence[str], image_shape: tuple[int, int], shades: dict[str, Any]
) -> Figure:
    height, width = image_shape
    n_rows, n_features = coef.shape
    if height * width != n_features:
        raise ValueError(
            f"image_shape {image_shape} has {height * width} pixels; the model has {n_features} features"
        )
    n_columns = min(n_rows, 5 if n_rows <= 20 else 10)
    n_lines = -(-n_rows // n_columns)
    figure = _figure(1 + 2.0 * n_columns, 0.6 + 2.2 * n_lines * height / width, "compressed")
    grid = figure.subplots(n_lines, n_columns, squeeze=False).ravel()
    for k, axes in enumerate(grid):
        axes.set_axis_off()
        if k < n_rows:
            image = axes.imshow(coef[k].reshape(height, width), **shades)
            axes.set_title(labels[k], fontsize=11)
    figure.colorbar(image, ax=list(grid), fraction=0.03, pad=0.02, extend="both", label="coefficient")
    return figure


def _figure(
    width: float, height: float, layout: Literal["constrained", "compressed"] = "constrained"
) -> Figure:
    """Return an empty figure that pyplot does not know of, in inches at 100 pixels each.

    The "compressed" layout is for axes of fixed aspect: the other would cut off their labels.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=100, layout=layout)
    figure.set_layout_engine(layout, w_pad=0.1, h_pad=0.1)
    return figure


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


def _colours(n_classes: int) -> NDArray[np.float64]:
    """Return (K, 3) colours: a palette made for categories as far as it goes, the rainbow beyond."""
    import matplotlib

    if n_classes <= 10:
        return np.array(matplotlib.colormaps["tab10"].colors[:n_classes])  # type: ignore[attr-defined]
    return matplotlib.colormaps["turbo"](np.linspace(0.02, 0.98, n_classes))[:, :3]


def _clean(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def _tick_some(axes: Any, labels: Sequence[Any] | NDArray[Any], which: str, turned: bool = False) -> None:
    """Label every tick, or, where they would overlap, every second, fifth, tenth, ..."""
    n_labels = len(labels)
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, n_labels) if n_labels / step <= _MOST_NAMES)
    at = np.arange(0, n_labels, step)
    text = [str(labels[k]) for k in at.tolist()]
    long = max(map(len, text)) > 3
    rotation = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if turned and long else {}
    size = 10 if len(text) <= 20 else 8
    (axes.set_xticks if which == "x" else axes.set_yticks)(at, text, fontsize=size, **rotation)
