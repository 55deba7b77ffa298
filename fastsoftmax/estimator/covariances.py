"""The covariance of coefficients from sums over rows: inverses and sandwiches, each in its own memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.linalg import lapack

from fastsoftmax.linalg.cholesky import unit_scale
from fastsoftmax.objective.curvature import PANEL, sum_size, symmetric
from fastsoftmax.runtime import blas
from fastsoftmax.runtime.available_memory import available_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Vector
    from fastsoftmax.estimator.information import Fitted
    from fastsoftmax.objective.score_sums import ScoreSums

# The least pivot of an information matrix of unit diagonal: below it, less than six digits would be left.
LEAST_PIVOT = 1e-10
DEPENDS = 1e-3  # the least coefficient, of columns of unit length, of a column that another depends on


class Found(NamedTuple):
    """A covariance, and what is known with it.

    Attributes
    ----------
    matrix : ndarray (1, m q, m q), or (m, q, q) of independent labels, or None
    variances : ndarray (m, q)
        Its diagonal.
    df : float
        The number of effective parameters.
    distance : float
        How far the parameters are from the maximum, in standard errors.
    """

    matrix: Vector | None
    variances: Vector
    df: float
    distance: float


def is_packed(fitted: Fitted, whole: bool) -> bool:
    """Return whether `variances_alone` has less to hold than `whole_of`: of a softmax, and its diagonal."""
    return not whole and fitted.exclusive and len(fitted.kept) > 1


def check_size(fitted: Fitted, kind: str, whole: bool) -> None:
    """Raise ValueError if the matrices of a covariance are more than the memory that is free."""
    free = available_memory()
    needed = n_bytes(fitted, kind, whole)
    if free is None or needed <= free:
        return
    less = n_bytes(fitted, kind, False)
    advice = f"covariance='diagonal' takes {less / 1e9:.3g} GB. " if whole and less < needed else ""
    raise ValueError(
        f"the covariance of {len(fitted.kept) * fitted.n_terms:,} parameters takes {needed / 1e9:.3g} GB "
        f"while it is made; {free / 1e9:.3g} GB are free. {advice}Leave out features, or classes"
    )


def n_bytes(fitted: Fitted, kind: str, whole: bool) -> int:
    """Return the bytes of the matrices that are held at once at most."""
    m, q = len(fitted.kept), fitted.n_terms
    order = m * q
    numbers = sum_size(m, q, fitted.exclusive)  # for labels, also the memory of the result
    if is_packed(fitted, whole):
        numbers += order * (order + 1) // 2
    elif fitted.exclusive:
        numbers += order**2
    return 8 * (numbers + (kind != "observed") * order**2)


def whole_of(
    fitted: Fitted,
    sums: ScoreSums,
    names: Sequence[str],
    X_depends: Callable[[], str | None],
    factor: float,
    whole: bool,
) -> Found:
    """Return the covariance, a matrix.

    Parameters
    ----------
    fitted : Fitted
    sums : ScoreSums
        Whose products are overwritten.
    names : sequence of str
        Of all m q parameters.
    X_depends : callable
        Returns the message for columns of X that depend on each other, or None if they do not.
    factor : float
        Of a sandwich.
    whole : bool
        Whether to keep the matrix beside its diagonal.

    Raises
    ------
    ValueError
        If the information is singular to rounding; the message names the parameters.
    """
    bread = fitted.add_penalty(sums.curvature.information())
    inverses(bread, names, X_depends)
    slope = (sums.score - fitted.penalty_slope()).reshape(len(bread), -1)
    errors = np.sqrt(np.diagonal(bread, axis1=1, axis2=2))
    distance = float(np.abs(np.einsum("bij,bj->bi", bread, slope) / errors).max())
    df = fitted.effective(bread)
    matrix = bread
    if sums.products is not None:
        matrix = sandwich(bread, sums.products)[np.newaxis]
        matrix *= factor
    uncentre(matrix, fitted.to_constant)
    variances = np.diagonal(matrix, axis1=1, axis2=2).reshape(slope.size // fitted.n_terms, -1).copy()
    return Found(matrix if whole else None, variances, df, distance)


def factored(matrix: Vector) -> tuple[Vector, NDArray[np.intp] | None]:
    """Scale a matrix to a unit diagonal and factorise it, in place.

    Parameters
    ----------
    matrix : ndarray (s, s), C-ordered
        S A S = L Lᵀ: Lᵀ replaces the upper triangle; the lower one keeps S A S.

    Returns
    -------
    scale : ndarray (s,)
        The diagonal of S.
    places : ndarray or None
        None, or where A is singular to rounding: those of a column, last, and of the ones it depends on.
    """
    diagonal, scale = matrix.diagonal().copy(), unit_scale(matrix)
    matrix *= scale
    matrix *= scale[:, np.newaxis]
    columns = matrix.T
    with blas.one_thread():
        _, failed = lapack.dpotrf(columns, lower=True, clean=False, overwrite_a=True)
    pivots = np.square(columns.diagonal()[: failed - 1 if failed else len(matrix)])
    bad = np.flatnonzero(pivots < LEAST_PIVOT)
    if not failed and not len(bad):
        return scale, None
    place = int(bad[0]) if len(bad) else failed - 1
    if place == 0 or diagonal[place] <= 0.0:
        return scale, np.array([place])
    head = np.tril(columns[:place, :place])
    half = np.linalg.solve(head, columns[:place, place])
    coefficients = np.linalg.solve(head.T, half)
    return scale, np.append(np.flatnonzero(np.abs(coefficients) > DEPENDS), place)


def inverses(blocks: Vector, names: Sequence[str], X_depends: Callable[[], str | None]) -> None:
    """Replace each block (b, s, s) by its inverse; arguments and errors are those of `whole_of`."""
    size = blocks.shape[1]
    for b, block in enumerate(blocks):
        scale, places = factored(block)
        if places is not None:
            raise ValueError(X_depends() or singular([names[b * size + i] for i in places.tolist()]))
        with blas.one_thread():
            lapack.dpotri(block.T, lower=True, overwrite_c=True)
        symmetric(block)
        block *= scale
        block *= scale[:, np.newaxis]


def singular(names: Sequence[str]) -> str:
    """Return the message for parameters that cannot be told from each other."""
    return (
        f"the information matrix is singular: {listed(names)} cannot be told "
        "from each other. The columns of X do not depend on each other, so the classes are separable, or all "
        "but: give a finite C, or leave those columns out"
    )


def sandwich(bread: Vector, products: Vector) -> Vector:
    """Return A M A for the blocks A (b, s, s) of a block-diagonal matrix, in the memory of M (b s, b s)."""
    size, order = bread.shape[1], len(products)
    for b, block in enumerate(bread):
        rows = products[b * size : (b + 1) * size]
        for first in range(0, order, PANEL):
            panel = rows[:, first : first + PANEL]
            panel[...] = block @ panel
    for b, block in enumerate(bread):
        columns = products[:, b * size : (b + 1) * size]
        for first in range(0, order, PANEL):
            panel = columns[first : first + PANEL]
            panel[...] = panel @ block
    return products


def uncentre(cov: Vector, to_constant: Vector | None) -> None:
    """Bring covariances (b, s, s) to the rows' own intercepts (`Fitted.to_constant`), in place."""
    if to_constant is None:
        return
    q = len(to_constant)
    for block in cov:
        for first in range(0, len(block), q):
            block[first] = to_constant @ block[first : first + q]
        for first in range(0, len(block), q):
            block[:, first] = block[:, first : first + q] @ to_constant


def listed(names: Sequence[str], most: int = 8) -> str:
    """Return names in a sentence; of many, the first ones and how many more."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
