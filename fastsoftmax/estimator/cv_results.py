"""The choice of C from the scores of folds, and the layout of a cross-validation's attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastsoftmax.contracts import Vector
    from fastsoftmax.estimator.folds import FoldFits, Problem


def chosen(scores: Vector, Cs: Vector, selection: str) -> int:
    """Return the place of the C chosen by scores (folds, m).

    "best" is the largest mean score, the first of equal ones. "one_standard_error" is the smallest C whose
    mean score is at most one standard error of the best one's mean below it [1]_.

    References
    ----------
    .. [1] L. Breiman, J. H. Friedman, R. A. Olshen, C. J. Stone, "Classification and regression trees",
       Wadsworth, 1984, sec. 3.4.3.
    """
    best = int(np.argmax(scores.sum(axis=0)))
    if selection == "best":
        return best
    mean = scores.mean(axis=0)
    error = scores[:, best].std(ddof=1) / np.sqrt(len(scores)) if len(scores) > 1 else 0.0
    near = np.flatnonzero(mean >= mean[best] - error)
    return best if not len(near) else int(near[np.argmin(Cs[near])])  # none of scores that are not numbers


def averages(fits: FoldFits, scores: Vector, Cs: Vector) -> tuple[float, Vector, Vector]:
    """Return the means over folds of the best C of each, and of its coefficients and intercepts."""
    best = scores.argmax(axis=1)
    folds = np.arange(len(best))
    return (
        float(Cs[best].mean()),
        fits.coef[folds, best].mean(axis=0),
        fits.intercept[folds, best].mean(axis=0),
    )


def attributes(
    problem: Problem, fits: FoldFits, scores: Vector, C: float, *, refit: bool, with_ratios: bool
) -> dict[str, Any]:
    """Return `C_`, `l1_ratio_`, `coefs_paths_`, `scores_` and `n_iter_` as scikit-learn 1.10 will have them.

    The axes are folds, l1_ratios (one) and C; of the paths classes (one for two) and d + 1 follow.
    """
    return {
        "C_": C,
        "l1_ratio_": 0.0,
        "coefs_paths_": _paths(problem, fits)[:, np.newaxis],
        "scores_": scores[:, np.newaxis],
        "n_iter_": fits.n_iter[:, np.newaxis],
    }


def legacy_attributes(
    problem: Problem, fits: FoldFits, scores: Vector, C: float, *, refit: bool, with_ratios: bool
) -> dict[str, Any]:
    """Return the same attributes as scikit-learn has had them until 1.9: of each class, with equal scores.

    With `with_ratios` those of a class have an axis for them, of length one, behind that of C.
    """
    classes, n_outputs = problem.labels.classes, problem.labels.n_outputs
    names = classes[-n_outputs:].tolist()  # of two, the second
    paths, n_iter = _paths(problem, fits), fits.n_iter[np.newaxis]
    by_class = [paths[:, :, k] for k in range(n_outputs)]
    if with_ratios:
        by_class = [path[:, :, np.newaxis] for path in by_class]
        scores, n_iter = scores[:, :, np.newaxis], n_iter[..., np.newaxis]
    ratio = 0.0 if with_ratios or not refit else None
    return {
        "C_": np.full(n_outputs, C),
        "l1_ratio_": np.array([ratio] * n_outputs),
        "coefs_paths_": dict(zip(names, by_class, strict=True)),
        "scores_": {name: scores.copy() for name in names},
        "n_iter_": n_iter,
    }


def _paths(problem: Problem, fits: FoldFits) -> Vector:
    """Return coefficients and, if there are, intercepts, (folds, m, K, d + 1)."""
    if not problem.model.fit_intercept:
        return fits.coef
    return np.concatenate((fits.coef, fits.intercept[..., np.newaxis]), axis=-1)
