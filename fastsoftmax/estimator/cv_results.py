"""The choice of C and l1_ratio by scores, and the layout of a cross-validation's attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastsoftmax.contracts import Vector
    from fastsoftmax.estimator.cv_grid import Grid
    from fastsoftmax.estimator.folds import FoldFits, Problem


def chosen(scores: Vector, grid: Grid, selection: str, n_nonzero: Vector) -> tuple[int, int]:
    """Return the places of the l1_ratio and the C chosen by scores (folds, r, m).

    "best" is the largest mean score, the first of equal ones: those of the first C, of the second …
    "one_standard_error" takes for each l1_ratio the smallest C whose mean score is at most one standard error
    of the best one's mean below it [1]_; of these the one with the fewest coefficients that are not zero, by
    their means `n_nonzero` (r, m), and of equal ones that of the best mean score.

    References
    ----------
    .. [1] L. Breiman, J. H. Friedman, R. A. Olshen, C. J. Stone, "Classification and regression trees",
       Wadsworth, 1984, sec. 3.4.3.
    """
    j, i = np.unravel_index(np.argmax(scores.sum(axis=0).T), scores.shape[:0:-1])
    best = int(i), int(j)
    if selection == "best":
        return best
    mean = scores.mean(axis=0)
    near = mean >= mean[best] - standard_error(scores)[best]
    simplest = [
        (n_nonzero[i, j], -mean[i, j], i, j)
        for i in np.flatnonzero(near.any(axis=1)).tolist()
        for j in [min(np.flatnonzero(near[i]).tolist(), key=grid.Cs.__getitem__)]
    ]
    return min(simplest)[2:] if simplest else best  # none of scores that are not numbers


def standard_error(scores: Vector) -> Vector:
    """Return the standard errors (r, m) of mean scores over folds; zeros for a single fold."""
    if len(scores) < 2:
        return np.zeros(scores.shape[1:])
    error: Vector = scores.std(axis=0, ddof=1) / np.sqrt(len(scores))
    return error


def averages(fits: FoldFits, scores: Vector, grid: Grid) -> tuple[float, float, Vector, Vector, str]:
    """Return what ran, after the means over folds of each one's best C, l1_ratio, coef and intercept."""
    n_folds, n_ratios, _ = scores.shape
    j, i = np.divmod(scores.swapaxes(1, 2).reshape(n_folds, -1).argmax(axis=1), n_ratios)
    folds = np.arange(n_folds)
    return (
        float(grid.Cs[j].mean()),
        float(grid.l1_ratios[i].mean()),
        fits.coef[folds, i, j].mean(axis=0),
        fits.intercept[folds, i, j].mean(axis=0),
        " and ".join(dict.fromkeys(fits.ran[folds, i, j])),
    )


def attributes(
    problem: Problem, fits: FoldFits, scores: Vector, grid: Grid, C: float, l1_ratio: float, *, refit: bool
) -> dict[str, Any]:
    """Return `C_`, `l1_ratio_`, `coefs_paths_`, `scores_` and `n_iter_` as scikit-learn 1.10 will have them.

    The axes are folds, l1_ratios and C; of the paths classes (one for two) and d + 1 follow.
    """
    return {
        "C_": C,
        "l1_ratio_": l1_ratio,
        "coefs_paths_": _paths(problem, fits),
        "scores_": scores,
        "n_iter_": fits.n_iter,
    }


def legacy_attributes(
    problem: Problem, fits: FoldFits, scores: Vector, grid: Grid, C: float, l1_ratio: float, *, refit: bool
) -> dict[str, Any]:
    """Return the same attributes as scikit-learn has had them until 1.9: of each class, with equal scores.

    Those of a class have an axis of the l1_ratios behind that of C, if some were given.
    """
    classes, n_outputs = problem.labels.classes, problem.labels.n_outputs
    names = classes[-n_outputs:].tolist()  # of two, the second
    place: Any = np.s_[...] if grid.has_ratios else np.s_[:, :, 0]
    paths = _paths(problem, fits).swapaxes(1, 2)
    scores, n_iter = (each.swapaxes(1, 2)[place] for each in (scores, fits.n_iter))
    ratio = l1_ratio if grid.has_ratios or not refit else None
    return {
        "C_": np.full(n_outputs, C),
        "l1_ratio_": np.array([ratio] * n_outputs),
        "coefs_paths_": {name: paths[:, :, :, k][place] for k, name in enumerate(names)},
        "scores_": {name: scores.copy() for name in names},
        "n_iter_": n_iter[np.newaxis],
    }


def _paths(problem: Problem, fits: FoldFits) -> Vector:
    """Return coefficients and, if there are, intercepts, (folds, r, m, K, d + 1)."""
    if not problem.model.fit_intercept:
        return fits.coef
    return np.concatenate((fits.coef, fits.intercept[..., np.newaxis]), axis=-1)
