"""The penalty at which the first coefficient appears."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.estimator import fitting, hyperparameters, minimising
from fastsoftmax.estimator.softmax_regression import SoftmaxRegression

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import MatrixLike

NEVER = 1e100  # a strength that no coefficient withstands, and whose products do not overflow
TOL = 1e-12  # of F without the penalised coefficients: Newton's last step leaves far less


def C_min(
    X: MatrixLike,
    y: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    *,
    l1_ratio: float = 1.0,
    **options: Any,
) -> float:
    """Return the largest C at which all penalised coefficients are zero, where a path over C begins.

    Parameters
    ----------
    X : array_like or SciPy sparse, (n, d), or rows of `fastsoftmax.open_rows`, which bring y and weights
    y : array_like, (n,) labels, or (n, K) probabilities (multi-label: labels in [0, 1])
    sample_weight : array_like (n,), optional
    l1_ratio : float in (0, 1]
    options
        Others of SoftmaxRegression: `fit_intercept`, `class_weight`, `loss`, `penalty_weights` …

    Returns
    -------
    C : float
        α / (Σ w · max |gradient of the mean loss| / p) over the penalised coefficients, with intercepts and
        free coefficients at their optimum. Infinite if all gradients are zero.

    Raises
    ------
    ValueError
        As from `SoftmaxRegression.fit`; or if `l1_ratio` is zero, when no C is that small.

    Notes
    -----
    A few passes over X, more with free coefficients.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastsoftmax import C_min, SoftmaxRegression
    >>> X, y = load_iris(return_X_y=True)
    >>> C = C_min(X, y)
    >>> [int((SoftmaxRegression(C=f * C, l1_ratio=1.0).fit(X, y).coef_ != 0).sum()) for f in (0.99, 1.01)]
    [0, 1]
    """
    if not l1_ratio > 0.0:
        raise ValueError(
            f"l1_ratio must be above 0: squares alone leave no coefficient at zero; got {l1_ratio}"
        )
    model = SoftmaxRegression(**{**options, "C": 1.0, "l1_ratio": l1_ratio})
    model._validate_params()
    settings = hyperparameters.settle(model)
    fit, labels = model._prepared(X, y, sample_weight, settings)
    null = fit.objective.with_l2(NEVER)
    start = fitting.start_of(model, fit, labels)
    solution = minimising.minimize(null, start, fit.solver, tol=TOL, max_iter=model.max_iter, callback=None)
    penalty = fit.objective.penalty.with_strength(1.0)
    slope = solution.grad[: penalty.weights.size].reshape(penalty.weights.shape)
    excess = float(penalty.excess(np.where(penalty.weights > 0.0, slope, 0.0)).max(initial=0.0))
    return float(np.inf if excess == 0.0 else 1.0 / (excess * fit.total_weight))
