"""The scores and the coefficients of a cross-validation against C, with the choice marked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax.plot.canvas import BLUE, GREY, axes_for, colours, new_figure, tidy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

MAX_NAMED = 7  # features with a colour and a name of their own: grey is for the others
MAX_COUNTS = 8  # numbers of coefficients along the upper side
MAX_CLASSES = 12  # in a legend


class _Validated(NamedTuple):
    """What a cross-validation found, by ascending C: in whichever layout the model has it.

    `scores` (folds, r, m), `paths` (folds, r, m, K, d) without intercepts, `place` that of the
    l1_ratio chosen.
    """

    Cs: NDArray[np.float64]
    ratios: NDArray[np.float64]
    scores: NDArray[np.float64]
    paths: NDArray[np.float64]
    C: float
    place: int


def cv_scores(model: Any, *, ax: Axes | None = None, title: str | None = None) -> Figure:
    """Draw the mean score of a cross-validation against C, with its standard errors.

    A line for each l1_ratio; the bars are one standard error of the mean over folds long each way. The C and
    l1_ratio chosen are marked, and the best mean less its standard error is a dashed line.

    Parameters
    ----------
    model : SoftmaxRegressionCV or LogisticRegressionCV
        Fitted.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.
    title : str, optional
        A line above the picture.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the model is not fitted.
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastsoftmax import SoftmaxRegressionCV
    >>> X, y = load_iris(return_X_y=True)
    >>> figure = cv_scores(SoftmaxRegressionCV(l1_ratios=(0.5, 1), scoring="neg_log_loss").fit(X, y))
    >>> [line.get_text() for line in figure.axes[0].get_legend().get_texts()]
    ['l1_ratio 0.5', 'l1_ratio 1']
    """
    from fastsoftmax.estimator.cv_results import standard_error

    found = _found(model)
    figure, axes = axes_for(ax, 7.4, 5.2)
    mean, error = found.scores.mean(axis=0), standard_error(found.scores)
    hues = [BLUE] if len(found.ratios) == 1 else colours(len(found.ratios))
    for i, ratio in enumerate(found.ratios.tolist()):
        shift = (i - (len(found.ratios) - 1) / 2) / 300  # bars at the same C stand beside each other
        beside = (found.Cs.max() / found.Cs.min()) ** shift
        axes.errorbar(
            found.Cs * beside, mean[i], error[i], color=hues[i], marker="o", markersize=4, linewidth=1.6,
            capsize=3, elinewidth=1.0, label=f"l1_ratio {ratio:g}",
        )  # fmt: skip
    best = np.unravel_index(np.argmax(mean), mean.shape)
    axes.axhline(mean[best] - error[best], color=GREY, linestyle="--", linewidth=1.0, zorder=0)
    at = int(np.argmin(np.abs(np.log(found.Cs / found.C))))
    axes.plot(
        found.C, mean[found.place, at], marker="o", markersize=11, markerfacecolor="none",
        markeredgecolor="black", markeredgewidth=1.5, linestyle="none", zorder=5,
    )  # fmt: skip
    _mark(axes, found.C)
    scoring = getattr(model, "scoring", None)
    named = scoring if isinstance(scoring, str) and scoring != "warn" else None
    axes.set(xscale="log", xlabel="C", ylabel=f"mean {named or ('score' if scoring else 'accuracy')}")
    if len(found.ratios) > 1:
        axes.legend(frameon=False)
    tidy(axes, grid=True)
    axes.set_title(f"Scores of {len(found.scores)} folds, ± one standard error", fontsize=11)
    if title is not None:
        figure.suptitle(title, fontsize=13)
    return figure


def coefficient_path(
    path: Any,
    *,
    C: float | None = None,
    feature_names: Sequence[str] | None = None,
    class_names: ArrayLike | None = None,
    ax: Axes | None = None,
    title: str | None = None,
) -> Figure:
    """Draw coefficients against C, with the number of them that are not zero along the upper side.

    Of two classes the features that end largest have colours and names; of more each has its class's colour.

    Parameters
    ----------
    path : list of PathPoint, SoftmaxRegressionCV or LogisticRegressionCV
        What `fit_path` returned, of one l1_ratio; or a fitted model, whose coefficients are means over folds
        for the l1_ratio chosen.
    C : float, optional
        A value to mark; that which the model has chosen by default.
    feature_names : sequence of str (d,), optional
    class_names : array_like (K,), optional
    ax : matplotlib.axes.Axes, optional
    title : str, optional

    Returns
    -------
    figure : matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the points are of several l1_ratios, or there is none.
    sklearn.exceptions.NotFittedError
        If the model is not fitted.
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from fastsoftmax import SoftmaxRegression
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> path = SoftmaxRegression(l1_ratio=1.0).fit_path(X, y, [0.001, 0.01, 0.1])
    >>> coefficient_path(path, C=0.01).axes[0].get_xlabel()
    'C'
    """
    if hasattr(path, "fit"):
        found = _found(path)
        Cs, coefs = found.Cs, found.paths[:, found.place].mean(axis=0)
        C = found.C if C is None else C
        counts = np.count_nonzero(found.paths[:, found.place], axis=(2, 3)).mean(axis=0)
        about = f"Coefficients, means over {len(found.paths)} folds (l1_ratio {found.ratios[found.place]:g})"
        class_names = path.classes_ if class_names is None else class_names
    else:
        Cs, coefs = _points(path)
        counts, about = np.count_nonzero(coefs, axis=(1, 2)), "Coefficients"
    figure, axes = axes_for(ax, 7.4, 5.2)
    _draw_lines(axes, Cs, coefs, feature_names, class_names)
    _mark(axes, C)
    axes.axhline(0.0, color=GREY, linewidth=0.8, zorder=0)
    axes.set(xscale="log", xlabel="C", ylabel="coefficient")
    tidy(axes, grid=True)
    _draw_counts(axes, Cs, counts)
    axes.set_title(about, fontsize=11)
    if title is not None:
        figure.suptitle(title, fontsize=13)
    return figure


def cross_validation(
    model: Any,
    *,
    feature_names: Sequence[str] | None = None,
    class_names: ArrayLike | None = None,
    title: str | None = None,
) -> Figure:
    """Draw `cv_scores` and `coefficient_path` of a cross-validated model beside each other.

    Parameters
    ----------
    model : SoftmaxRegressionCV or LogisticRegressionCV
        Fitted.
    feature_names : sequence of str (d,), optional
    class_names : array_like (K,), optional
    title : str, optional
        A line above the picture.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the model is not fitted.
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastsoftmax import SoftmaxRegressionCV
    >>> X, y = load_iris(return_X_y=True)
    >>> figure = cross_validation(SoftmaxRegressionCV(Cs=4, l1_ratios=(1,)).fit(X, y))
    >>> [axes.get_ylabel() for axes in figure.axes[:2]]
    ['mean accuracy', 'coefficient']
    """
    figure = new_figure(14, 5.4)
    left, right = figure.subplots(1, 2)
    cv_scores(model, ax=left)
    coefficient_path(model, ax=right, feature_names=feature_names, class_names=class_names)
    if title is not None:
        figure.suptitle(title, fontsize=13)
    return figure


def _found(model: Any) -> _Validated:
    """Return the results of a fitted model, from either layout of its attributes."""
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(model)
    scores, paths = model.scores_, model.coefs_paths_
    if isinstance(scores, dict):
        scores = next(iter(scores.values()))
        paths = np.stack(list(paths.values()), axis=-2)
        scores, paths = (
            (scores[:, np.newaxis], paths[:, np.newaxis])
            if scores.ndim == 2
            else (scores.swapaxes(1, 2), paths.swapaxes(1, 2))
        )
    Cs = np.asarray(model.Cs_, dtype=float)
    ratios = np.array([ratio or 0.0 for ratio in np.ravel(model.l1_ratios_)], dtype=float)
    order = np.argsort(Cs[np.isfinite(Cs)], kind="stable")
    finite = np.flatnonzero(np.isfinite(Cs))[order]
    n_coef = np.shape(model.coef_)[1]
    ratio = np.ravel(model.l1_ratio_)[0] or 0.0
    return _Validated(
        Cs[finite],
        ratios,
        scores[:, :, finite],
        paths[:, :, finite][..., :n_coef],
        float(np.ravel(model.C_)[0]),
        int(np.argmin(np.abs(ratios - ratio))),
    )


def _points(path: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the finite C (m,) of a path, ascending, and its coefficients (m, K, d)."""
    if len({point.l1_ratio for point in path}) != 1:
        raise ValueError("a picture of a path takes the points of one l1_ratio, at least one")
    points = sorted((point for point in path if np.isfinite(point.C)), key=lambda point: point.C)
    return np.array([point.C for point in points]), np.stack([point.coef_ for point in points])


def _mark(axes: Axes, C: float | None) -> None:
    """Draw a vertical line at the C chosen, if it is on the axis."""
    if C is not None and np.isfinite(C):
        axes.axvline(C, color="black", linestyle=":", linewidth=1.2, zorder=1)


def _draw_lines(
    axes: Axes,
    Cs: NDArray[np.float64],
    coefs: NDArray[np.float64],
    feature_names: Sequence[str] | None,
    class_names: ArrayLike | None,
) -> None:
    """Draw a line for each coefficient that is not always zero, and the legend."""
    _, n_outputs, n_features = coefs.shape
    style: dict[str, Any] = {"linewidth": 1.3, "marker": "o" if len(Cs) == 1 else None, "markersize": 4}
    if n_outputs > 1:
        labels = np.arange(n_outputs) if class_names is None else np.asarray(class_names)
        for k, hue in enumerate(colours(n_outputs)):
            lines = coefs[:, k][:, coefs[:, k].any(axis=0)]
            alpha = float(np.clip(8 / max(lines.shape[1], 1), 0.3, 0.9))
            for line in lines.T:
                axes.plot(Cs, line, color=hue, alpha=alpha, **style)
            axes.plot([], [], color=hue, label=str(labels[k]))
        if n_outputs <= MAX_CLASSES:
            axes.legend(frameon=False, fontsize=9, title="class", loc="upper left", ncols=1 + (n_outputs > 6))
        return
    names = [f"feature {j}" for j in range(n_features)] if feature_names is None else list(feature_names)
    used = np.flatnonzero(coefs[:, 0].any(axis=0))
    largest = used[np.argsort(-np.abs(coefs[-1, 0, used]), kind="stable")][:MAX_NAMED]
    for j in np.setdiff1d(used, largest).tolist():
        axes.plot(Cs, coefs[:, 0, j], color=GREY, alpha=0.5, **style)
    for j, hue in zip(largest.tolist(), colours(len(largest))):
        axes.plot(Cs, coefs[:, 0, j], color=hue, label=str(names[j]), **style)
    if len(largest):
        axes.legend(frameon=False, fontsize=8, loc="upper left")


def _draw_counts(axes: Axes, Cs: NDArray[np.float64], counts: NDArray[Any]) -> None:
    """Write how many coefficients are not zero along the upper side."""
    step = -(-len(Cs) // MAX_COUNTS)
    upper = axes.secondary_xaxis("top")
    upper.set_xticks(Cs[::step], [f"{count:.0f}" for count in counts[::step].tolist()], fontsize=8)
    upper.minorticks_off()
    upper.set_xlabel("coefficients that are not zero", fontsize=9)
    upper.spines["top"].set_visible(False)
