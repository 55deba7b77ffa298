"""Parameters as a model stores them, and F there: what a fit with float32 products is checked by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.contracts import Params
from fastsoftmax.contracts.queries import ExactLossGrad, LossGrad
from fastsoftmax.runtime import blas

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array, DType, Vector
    from fastsoftmax.contracts.protocols import Algebra, LossFamily, Penalty
    from fastsoftmax.objective.counted import CountedSource
    from fastsoftmax.objective.layout import Layout

# The most rows of a check: their products cost less than a pass over the usual set, and the mean of their
# rounding errors (10⁻⁷ each for float32) is known to 10⁻⁹.
ROWS = 2048


def coefficients(coef: Vector, family: LossFamily, penalty: Penalty, dtype: DType) -> Array:
    """Return coefficients (K, d) as a model stores them: a copy in `dtype`, without their mean over classes.

    The mean is kept where it matters: with a loss that it changes, or without a penalty.
    """
    stored: Array = np.empty(coef.shape, dtype)
    if family.SHIFT_INVARIANT and penalty.centres_classes:
        # The mean over classes changes no logit difference and is only penalised: zero at the optimum.
        with blas.one_thread():  # the bits depend on the number of threads
            class_mean = np.full(len(coef), 1.0 / len(coef)) @ coef
        np.subtract(coef, class_mean, out=stored, casting="same_kind")
    else:
        stored[:] = coef
    return stored


def value_and_grad(
    rows: CountedSource,
    layout: Layout,
    family: LossFamily,
    penalty: Penalty,
    algebra: Algebra,
    dtype: DType | None,
    stored_dtype: DType,
    x: Vector,
    value: float,
    grad: Vector,
) -> tuple[float, Vector]:
    """Return F in nats and ∇F at the parameters x in `stored_dtype`, from those at x.

    Parameters
    ----------
    rows : CountedSource
    layout : Layout
    family : LossFamily
    penalty : Penalty
    algebra : Algebra
    dtype : dtype or None
        Of the products that `value` and `grad` are from; None is that of the rows.
    stored_dtype : dtype
    x, grad : ndarrays (size,)
    value : float
    """
    at = layout.unpack(x)
    with np.errstate(over="ignore"):  # a number that the dtype does not hold becomes infinite
        coef = coefficients(at.coef, family, penalty, stored_dtype)
        intercept = at.intercept.astype(stored_dtype)
    kept = Params(coef.astype(np.float64), intercept.astype(np.float64))
    sample = rows.source.sample(ROWS)
    sums = rows.sum(ExactLossGrad(kept), readings=0, rows=sample)
    exact_grad, exact_penalty = layout.flatten(sums, kept.coef, penalty, algebra)
    exact_value = sums.value / sums.weight + exact_penalty
    if sample is rows.source:
        return exact_value, exact_grad
    near = rows.sum(LossGrad(at, dtype), readings=0, rows=sample)
    near_grad, near_penalty = layout.flatten(near, at.coef, penalty, algebra)
    exact_grad -= near_grad
    exact_grad += grad
    return value + (exact_value - (near.value / near.weight + near_penalty)), exact_grad
