"""What arrives from outside is checked once, here: everything behind this door may rely on it."""

from __future__ import annotations

import contextlib
import math
import numbers
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax import compressed, devices
from fastsoftmax.contracts import NATIVE_DTYPES, Csr, Halves

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Rows

LOSSES = ("softmax", "sigmoid")
# Of float16's bits, all but the sign; from infinity on they are no finite number.
MAGNITUDE, INFINITE = np.uint16(0x7FFF), 0x7C00
CHECKED_AT_ONCE = 2**18
# What scikit-learn's checks of X are asked for.
CHECKS: dict[str, Any] = {"accept_sparse": ("csr", "csc"), "accept_large_sparse": True, "dtype": "numeric"}
LARGEST_LABEL = np.iinfo(np.int64).max


def refuse_masked(name: str, a: Any) -> None:
    """Raise ValueError if an array has masked elements: everything below would take what the mask hides."""
    if isinstance(a, np.ma.MaskedArray) and np.ma.is_masked(a):
        raise ValueError(f"{name} holds masked elements; fill them or leave their rows out")


@contextlib.contextmanager
def named(name: str) -> Iterator[None]:
    """Turn the OverflowError of a Python integer that no float64 holds into a ValueError."""
    try:
        yield
    except OverflowError as error:
        raise ValueError(f"{name} holds a number that is too large for float64") from error


def real(name: str, a: Any) -> NDArray[np.float64]:
    """Return numbers as a C-ordered array of float64.

    Raises
    ------
    TypeError
        If they are complex, text, dates, or no numbers at all.
    ValueError
        If one is masked, or finite and too large for float64.
    """
    if type(a) is np.ndarray and a.dtype == np.float64 and a.flags.c_contiguous and a.flags.aligned:
        return a  # a solver asks thousands of times
    refuse_masked(name, a)
    with named(name), np.errstate(over="ignore"):
        values = np.asarray(a)
        if values.dtype.kind in "cSUTmM":
            raise TypeError(f"{name} must be real numbers; got {values.dtype}")
        try:
            taken = np.require(values, np.float64, ("C", "A"))
        except TypeError as error:
            raise TypeError(f"{name} must be real numbers; got {values.dtype}") from error
    is_wide = values.dtype.kind == "f" and values.dtype.itemsize > 8
    if is_wide and (np.isinf(taken) & ~np.isinf(values)).any():
        raise ValueError(f"{name} holds a number that is too large for float64")
    return taken


def total(weight: NDArray[np.float64]) -> float:
    """Return the sum of weights, infinite where it overflows."""
    with np.errstate(over="ignore"):
        return float(weight.sum())


def check_divisor(name: str, total: float) -> None:
    """Raise ValueError if a sum of weights, or its reciprocal, is infinite."""
    if not 4.0 * np.finfo(np.float64).tiny <= total < math.inf:
        raise ValueError(f"{name} must have a sum that can be divided by; got {total!r}")


def design_matrix(X: Any, *, name: str = "X", checked: bool = False, least_rows: int = 1) -> Rows:
    """Return X as a dense array, `Halves`, a `Csr` whose every index may be followed, or a device's `Guest`.

    Parameters
    ----------
    X : array_like or SciPy sparse, (n, d), or an array on a GPU
    name : str
        What messages call it.
    checked : bool
        X has been through scikit-learn's `check_array` already, but for NaN and infinity where `is_half`.
    least_rows : int
        How many rows X must have.

    Raises
    ------
    ValueError
        If X is not two-dimensional, is empty, holds NaN or infinity, or is a sparse matrix whose index
        arrays contradict its shape.
    TypeError
        If X is of a kind that is no array of numbers.

    Notes
    -----
    float16, float32, float64, uint8, int8 and int16 in native byte order are never copied, everything else is
    copied to float64. CSC is kept as the transpose of the rows that are built from it. The check for NaN
    reads X once.
    """
    import scipy.sparse

    device = devices.elsewhere(X)
    if device is not None:
        guest: Rows = device.checked_rows(X, name, least_rows)
        return guest
    if not checked:
        from sklearn.utils import check_array

        try:
            with converting(X, name):
                X = check_array(
                    X,
                    **CHECKS,
                    ensure_all_finite=not is_half(X),
                    ensure_min_samples=least_rows,
                    input_name=name,
                )
        except (TypeError, ValueError) as error:
            # Their messages print the array, and not all of them name it.
            too_large = isinstance(error.__cause__, OverflowError)
            text = not (scipy.sparse.issparse(X) or too_large) and _is_text(X)
            kind = TypeError if text or isinstance(error, TypeError) else ValueError
            said = str(error).splitlines()[0]
            raise kind(said if said.startswith(name) else f"{name}: {said}") from error
    if scipy.sparse.issparse(X):
        return compressed.checked(X, name)
    if is_half(X):
        return _halves(X, name)
    if X.dtype not in NATIVE_DTYPES:
        return real(name, X)
    return np.require(X, requirements="A")


@contextlib.contextmanager
def converting(X: Any, name: str = "X") -> Iterator[None]:
    """Raise ValueError for what scikit-learn's and SciPy's conversions of X in the body do not look at.

    That is masks, indices that lie outside the matrix, and Python's integers beyond float64.
    """
    import scipy.sparse

    refuse_masked(name, X)
    if scipy.sparse.issparse(X):
        compressed.check_convertible(X, name)
    with named(name):
        yield


def _is_text(X: Any) -> bool:
    try:
        return np.asarray(X).dtype.kind in "USO"
    except ValueError:  # rows of different lengths
        return False


def is_half(X: Any) -> bool:
    """Whether X is an array of float16 in native byte order, which `design_matrix` checks by itself."""
    return isinstance(X, np.ndarray) and X.dtype == np.float16


def _halves(X: NDArray[np.float16], name: str) -> Halves:
    # scikit-learn's check may take a byte for each number; here few are looked at together.
    from sklearn.utils import assert_all_finite

    bits = np.require(X, requirements="A").view(np.uint16)
    step = max(1, CHECKED_AT_ONCE // max(1, bits.shape[1]))
    for start in range(0, len(bits), step):
        part = slice(start, start + step)
        if (bits[part] & MAGNITUDE).max(initial=0) >= INFINITE:
            assert_all_finite(X[part], input_name=name)
    return Halves(bits)


def thread_count(n_threads: int | None) -> int | None:
    """Return the number of threads asked for, or None for all there are.

    Raises
    ------
    TypeError
        If it is no integer.
    ValueError
        If it is less than one.
    """
    if n_threads is None:
        return None
    if not isinstance(n_threads, numbers.Integral):
        raise TypeError(f"n_threads must be an integer or None; got {n_threads!r}")
    if n_threads < 1:
        raise ValueError(f"n_threads must be at least 1; got {n_threads!r}")
    return int(n_threads)


def sample_weights(sample_weight: Any, n_rows: int) -> NDArray[np.float64]:
    """Return the row weights as float64 (n,); ones where None was given.

    Raises
    ------
    ValueError
        If there is not one for each row, one is negative, NaN or infinite, all are zero, or their sum is none
        that can be divided by.
    TypeError
        If they are no real numbers.
    """
    if sample_weight is None:
        return np.ones(n_rows)
    weight = real("sample_weight", sample_weight)
    if weight.ndim == 0:
        weight = np.full(n_rows, float(weight))
    if weight.shape != (n_rows,):
        raise ValueError(
            f"sample_weight must have shape ({n_rows},), one for each row of X; got {weight.shape}"
        )
    if not np.isfinite(weight).all() or weight.min() < 0.0:
        raise ValueError("sample_weight must hold finite numbers that are not negative")
    if not weight.any():
        raise ValueError("sample_weight is zero for every row; at least one must be positive")
    check_divisor("sample_weight", total(weight))
    return weight


def labels(y: Any, n_classes: int | None, *, name: str = "y") -> NDArray[np.int64]:
    """Return integer labels as int64 (n,), each in [0, n_classes).

    Raises
    ------
    ValueError
        If a label is no integer or lies outside that range.
    """
    refuse_masked(name, y)
    y = np.asarray(y)
    if y.dtype.kind == "f" and np.isfinite(y).all() and (y == np.floor(y)).all():
        with np.errstate(over="ignore"):
            whole = y.astype(np.float64)
        if np.abs(whole).max(initial=0.0) < 2.0**63:  # beyond, the conversion would be undefined
            y = whole.astype(np.int64)
    if y.dtype.kind == "b":
        y = y.astype(np.int64)
    if y.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must hold integers in [0, n_classes) or probabilities (n, K); got {y.dtype}"
        )
    if y.size and (y.min() < 0 or y.max() >= (LARGEST_LABEL if n_classes is None else n_classes)):
        bound = "n_classes" if n_classes is None else n_classes
        raise ValueError(f"{name} must hold integers in [0, {bound}); got {y.min()} to {y.max()}")
    return np.require(y, np.int64, ("C", "A"))


def probabilities(
    y: Any, n_outputs: int | None, dtype: Any, *, rows_sum_to_one: bool, name: str = "y"
) -> NDArray[Any]:
    """Return probability targets as a C-ordered (n, K) array of `dtype`.

    Raises
    ------
    ValueError
        If one lies outside [0, 1], the number of columns is not `n_outputs`, or, where rows have to sum to
        one, a row does not (to 1e-3, so that float16 probabilities pass).
    """
    refuse_masked(name, y)
    y = np.asarray(y)
    if y.dtype.kind not in "fiub" or y.ndim != 2:
        raise ValueError(f"{name} must be a matrix (n, K) of numbers in [0, 1]; got {y.dtype} {y.shape}")
    if n_outputs is not None and y.shape[1] != n_outputs:
        raise ValueError(f"{name} must have {n_outputs} columns, one for each class; got {y.shape[1]}")
    if y.size and not (y.min() >= 0.0 and y.max() <= 1.0):  # false for NaN as well
        raise ValueError(f"{name} must hold numbers in [0, 1]; got {y.min()} to {y.max()}")
    if rows_sum_to_one:
        totals = y.sum(axis=1, dtype=np.float64)
        if y.size and np.abs(totals - 1.0).max() > 1e-3:
            raise ValueError(
                f"{name}: each row of probabilities must sum to 1; one sums to {totals.min():.6g}"
            )
    return np.require(y, dtype, ("C", "A"))


def dense(coef: Any) -> NDArray[Any]:
    """Return coefficients as an array, whether or not `sparsify` has made them sparse."""
    return coef if isinstance(coef, np.ndarray) else coef.toarray()


def same_rows(X: Any, y: Any, *, name: str = "y") -> None:
    """Raise ValueError unless X and y have the same number of rows."""
    if X.shape[0] != y.shape[0]:
        raise ValueError(f"X has {X.shape[0]} rows and {name} has {y.shape[0]}; they must agree")


def is_narrow(rows: Rows) -> bool:
    """Whether float32 holds every value of the rows, so that their products are float32."""
    dtype = (rows.data if isinstance(rows, Csr) else rows).dtype
    return bool(dtype.itemsize <= 2 or dtype == np.float32)


def targets(y: Any, n_classes: int | None, loss: str, rows: Rows) -> NDArray[Any]:
    """Return checked targets: int64 (n,), or probabilities (n, K) in the dtype that X's products have."""
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(map(repr, LOSSES))}; got {loss!r}")
    refuse_masked("y", y)
    y = np.asarray(y)
    same_rows(rows, y.reshape(-1) if y.ndim == 0 else y)
    if y.ndim == 1 and loss == "softmax":
        return labels(y, n_classes)
    dtype = np.float32 if is_narrow(rows) else np.float64
    return probabilities(y, n_classes, dtype, rows_sum_to_one=loss == "softmax")
