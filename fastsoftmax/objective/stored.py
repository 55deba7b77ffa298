"""Parameters as a model stores them, and F there: what a fit with float32 products is checked by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.contracts import Params
from fastsoftmax.contracts.queries import Check, LossGrad
from fastsoftmax.runtime import blas

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array, DType, Vector
    from fastsoftmax.contracts.protocols import Algebra, LossFamily, Penalty
    from fastsoftmax.objective.counted import CountedSource
    from fastsoftmax.objective.layout import Layout
    from fastsoftmax.sources.scaled import ScaledSource

# The most rows of a check: their products cost little beside a fit, and the mean of their rounding errors
# (10⁻⁷ each for float32) is known to some 10⁻⁹.
ROWS = 512


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


def value_and_hidden(
    rows: CountedSource,
    layout: Layout,
    family: LossFamily,
    penalty: Penalty,
    algebra: Algebra,
    is_float32: bool,
    stored_dtype: DType,
    x: Vector,
    value: float,
    grad: Vector,
    scaled: ScaledSource | None = None,
) -> tuple[float, float]:
    """Return F in nats at the parameters x in `stored_dtype`, and by how much rounding hides of the gap at x.

    Parameters
    ----------
    rows : CountedSource
    layout : Layout
    family : LossFamily
    penalty : Penalty
    algebra : Algebra
    is_float32 : bool
        Whether `value` and `grad` are from float32 products.
    stored_dtype : dtype
    x, grad : ndarrays (size,)
    value : float
    scaled : ScaledSource, optional
        The source of scaled rows: parameters are stored for the rows as they are.

    Notes
    -----
    A lower bound of min F at x is as good for the stored parameters: what is stored matters to F alone, and
    what products hide of ∇F(x) to the bound alone.
    """
    at = layout.unpack(x)
    with np.errstate(over="ignore"):  # a number that the dtype does not hold becomes infinite
        given = at if scaled is None else scaled.of_rows(at)
        coef = coefficients(given.coef, family, penalty, stored_dtype)
        intercept = given.intercept.astype(stored_dtype)
    flat = algebra.vector(coef.size)  # from its pool: the pages of a new long array take longer than the rest
    flat[:] = coef.ravel()
    kept = Params(flat.reshape(coef.shape), intercept.astype(np.float64, copy=False))
    if scaled is not None:
        kept = scaled.of_scaled_rows(kept)
        flat = kept.coef.ravel()
    sample = rows.source.sample(ROWS)
    bounded = is_float32 and penalty.has_conjugate
    exact = rows.sum(Check(kept, at if bounded else None), readings=0, rows=sample)
    near = rows.sum(LossGrad(at) if is_float32 else Check(at), readings=0, rows=sample)
    value += (exact.value - near.value) / exact.weight
    value += penalty.value(algebra, flat) - penalty.value(algebra, at.coef.ravel())
    if not bounded:
        return value, 0.0
    algebra.moved(exact.joined, near.joined, -1.0, out=exact.joined)
    layout.centred(exact)
    if layout.balances(family, penalty):
        layout.balanced(exact)  # as the gradient is
    hidden = exact.coef.ravel()
    coef_grad = layout.split(grad).coef.ravel()
    exact_grad = algebra.moved(coef_grad, hidden, 1.0 / exact.weight, out=hidden)
    return value, penalty.gap(algebra, exact_grad) - penalty.gap(algebra, coef_grad)
