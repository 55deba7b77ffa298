"""Validation of callers' arguments, done once, here: kernels and objectives rely on it."""

from __future__ import annotations

import contextlib
import math
import numbers
import sys
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from fastsoftmax import devices, losses
from fastsoftmax.contracts import NATIVE_DTYPES, Halves, compute_dtype
from fastsoftmax.contracts.wording import shown
from fastsoftmax.data import places, sparse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Array, DType, MatrixLike, Rows, Vector

# The bits of a float16 without its sign; from those of infinity on it is infinite or NaN.
MAGNITUDE, INFINITE = np.uint16(0x7FFF), 0x7C00
# Numbers of a block that is checked at a time: 512 KiB of bits stay in a second-level cache for both readings
# (the mask and its maximum), and the temporary array does not grow with n.
CHECKED_AT_ONCE = 2**18
# The options of scikit-learn's checks of X.
CHECKS: dict[str, Any] = {"accept_sparse": ("csr", "csc"), "accept_large_sparse": True, "dtype": "numeric"}
LARGEST_LABEL = np.iinfo(np.int64).max


def refuse_masked(name: str, a: Any) -> None:
    """Raise ValueError if an array has masked elements: conversions would use the values under the mask."""
    if isinstance(a, np.ma.MaskedArray) and np.ma.is_masked(a):
        raise ValueError(f"{name} holds masked elements; fill them or leave their rows out")


@contextlib.contextmanager
def named(name: str) -> Iterator[None]:
    """Turn the OverflowError of a Python integer that no float64 holds into a ValueError."""
    try:
        yield
    except OverflowError as error:
        raise ValueError(f"{name} holds a number that is too large for float64") from error


def real(name: str, a: Any) -> Vector:
    """Return numbers as a C-ordered array of float64.

    Raises
    ------
    TypeError
        If they are complex, text, dates, or not numbers.
    ValueError
        If one is masked, or finite and too large for float64.
    """
    if type(a) is np.ndarray and a.dtype == np.float64 and a.flags.c_contiguous and a.flags.aligned:
        return a  # the fast path of solvers, which call this thousands of times
    if type(a) is np.ndarray and a.dtype == np.float32:
        return a.astype(np.float64, order="C")  # exact, and there is nothing to check
    refuse_masked(name, a)
    a = devices.hosted(name, a)
    with named(name), np.errstate(over="ignore"):
        values = np.asarray(a)
        if values.dtype.kind in "cSUTmM":
            raise TypeError(f"{name} must be real numbers; got {values.dtype}")
        try:
            converted = np.require(values, np.float64, ("C", "A"))
        except TypeError as error:
            raise TypeError(f"{name} must be real numbers; got {values.dtype}") from error
    is_wide = values.dtype.kind == "f" and values.dtype.itemsize > 8
    if is_wide and (np.isinf(converted) & ~np.isinf(values)).any():
        raise ValueError(f"{name} holds a number that is too large for float64")
    return converted


def total(weight: Vector) -> float:
    """Return the sum of weights; infinity if it overflows."""
    with np.errstate(over="ignore"):
        return float(weight.sum())


def check_divisor(name: str, total: float) -> None:
    """Raise ValueError if a sum of weights, or its reciprocal, is infinite."""
    if not 4.0 * np.finfo(np.float64).tiny <= total < math.inf:
        raise ValueError(f"{name} must have a sum that can be divided by; got {shown(total)}")


def design_matrix(X: MatrixLike, *, name: str = "X", checked: bool = False, min_rows: int = 1) -> Rows:
    """Return X, validated, as a dense array, `Halves`, a `Csr` or a `DeviceArray`.

    Parameters
    ----------
    X : array_like or SciPy sparse, (n, d), or an array on a GPU
    name : str
        Its name in messages.
    checked : bool
        Whether X has passed scikit-learn's `check_array` already (but not for NaN and infinity if `is_half`).
    min_rows : int
        The least number of rows.

    Raises
    ------
    ValueError
        If X is not two-dimensional, is empty, holds NaN or infinity, or is a sparse matrix whose index
        arrays contradict its shape.
    TypeError
        If X is not an array of numbers.

    Notes
    -----
    float16, float32, float64, uint8, int8 and int16 in native byte order are never copied, bfloat16 is copied
    to float32, everything else to float64. CSC is kept as the transpose of the rows that are built from it.
    The check for NaN reads X once.
    """
    import scipy.sparse

    device = devices.elsewhere(X)
    if device is not None:
        device_array: Rows = device.checked_rows(X, name, min_rows)
        return device_array
    values: Any = of_others(name, X)
    X = values
    if not checked:
        from sklearn.utils import check_array

        try:
            with converting(X, name):
                values = check_array(
                    X,
                    **CHECKS,
                    ensure_all_finite=not is_half(X),
                    ensure_min_samples=min_rows,
                    input_name=name,
                )
        except (TypeError, ValueError) as error:
            # The libraries' messages print the array, and not all of them name it.
            too_large = isinstance(error.__cause__, OverflowError)
            text = not (scipy.sparse.issparse(X) or too_large) and _is_text(X)
            kind = TypeError if text or isinstance(error, TypeError) else ValueError
            message = str(error).splitlines()[0]
            raise kind(message if message.startswith(name) else f"{name}: {message}") from error
    if scipy.sparse.issparse(values):
        return sparse.checked(values, name)
    if is_half(values):
        return _halves(values, name)
    if values.dtype not in NATIVE_DTYPES:
        return real(name, values)
    return np.require(values, requirements="A")


def of_others(name: str, X: Any) -> Any:
    """Return X, or NumPy's array in the memory of another library's; bfloat16 rows as a float32 copy.

    An array on a GPU is returned itself.
    """
    values = X if devices.elsewhere(X) is not None else devices.hosted(name, X)
    is_bfloat16 = isinstance(values, np.ndarray) and values.dtype.name == "bfloat16"
    return values.astype(np.float32) if is_bfloat16 else values


def is_plain(X: Any, n_features: int | None = None) -> TypeGuard[Any]:
    """Return whether scikit-learn's checks of X would find no fault and give back X itself.

    With `n_features`, also whether it has so many. Names of features are not looked for: X has none.

    So it is for a native NumPy matrix and a SciPy CSR matrix of finite numbers. False may be wrong: where a
    sum of finite numbers overflows, for instance. The checks themselves take as long as predictions of
    hundreds of rows.
    """
    values = X
    if type(X) is not np.ndarray:
        if not _is_csr(X):
            return False
        values = X.data
    if type(values) is not np.ndarray or X.ndim != 2 or 0 in X.shape or values.dtype not in NATIVE_DTYPES:
        return False
    if n_features is not None and X.shape[1] != n_features:
        return False
    if values.dtype.kind != "f":
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        return math.isfinite(np.add.reduce(values, axis=None))


def _is_csr(X: Any) -> bool:
    """Return whether X is a CSR matrix or array of SciPy itself; what is derived from them is left out."""
    scipy_sparse = sys.modules.get("scipy.sparse")  # nobody has such a matrix before it is imported
    return scipy_sparse is not None and type(X) in (scipy_sparse.csr_matrix, scipy_sparse.csr_array)


@contextlib.contextmanager
def converting(X: Any, name: str = "X") -> Iterator[None]:
    """Raise ValueError for faults of X that scikit-learn's and SciPy's conversions in the body do not check.

    That is masks, indices that lie outside the matrix, and Python's integers beyond float64. What they say of
    a cell is said again with the place of the cell.
    """
    import scipy.sparse

    refuse_masked(name, X)
    if scipy.sparse.issparse(X):
        sparse.check_convertible(X, name)
    try:
        with named(name):
            yield
    except ValueError as error:
        said, _, rest = str(error).partition("\n")
        is_of_a_cell = type(error) is ValueError and ("contains" in said or "could not convert" in said)
        place = places.first_bad(X) if is_of_a_cell else None
        if place is None:
            raise
        raise ValueError("\n".join([f"{said.removesuffix('.')}: {place}", rest]).strip()) from error


def _is_text(X: Any) -> bool:
    """Return whether X becomes an array of strings or objects."""
    try:
        return np.asarray(X).dtype.kind in "USO"
    except ValueError:  # rows of different lengths
        return False


def is_half(X: Any) -> bool:
    """Return whether X is a native float16 array, whose finiteness `design_matrix` checks itself."""
    return isinstance(X, np.ndarray) and X.dtype == np.float16


def _halves(X: NDArray[np.float16], name: str) -> Halves:
    """Return float16 X as `Halves`. Raises scikit-learn's ValueError for NaN or infinity."""
    # scikit-learn's check may allocate a byte for each number of X; this one is done in blocks of rows.
    from sklearn.utils import assert_all_finite

    bits = np.require(X, requirements="A").view(np.uint16)
    step = max(1, CHECKED_AT_ONCE // max(1, bits.shape[1]))
    for start in range(0, len(bits), step):
        part = slice(start, start + step)
        if (bits[part] & MAGNITUDE).max(initial=0) >= INFINITE:
            assert_all_finite(X[part], input_name=name)
    return Halves(bits)


def thread_count(n_threads: int | None) -> int | None:
    """Return `n_threads` as an int, or None for every available processor.

    Raises
    ------
    TypeError
        If it is not an integer.
    ValueError
        If it is less than one.
    """
    if n_threads is None:
        return None
    if not isinstance(n_threads, numbers.Integral):
        raise TypeError(f"n_threads must be an integer or None; got {shown(n_threads)}")
    if n_threads < 1:
        raise ValueError(f"n_threads must be at least 1; got {shown(n_threads)}")
    return int(n_threads)


def sample_weights(sample_weight: Any, n_rows: int) -> Vector:
    """Return the row weights as float64 (n,); ones for None, and a scalar for every row.

    Raises
    ------
    ValueError
        If there is not one for each row, one is negative, NaN or infinite, all are zero, or the sum or its
        reciprocal overflows.
    TypeError
        If they are not real numbers.
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
        If a label is not an integer or lies outside that range.
    """
    refuse_masked(name, y)
    y = np.asarray(y)
    if y.dtype.kind == "f" and np.isfinite(y).all() and (y == np.floor(y)).all():
        with np.errstate(over="ignore"):
            as_float64 = y.astype(np.float64)
        if np.abs(as_float64).max(initial=0.0) < 2.0**63:  # the conversion of larger ones is undefined
            y = as_float64.astype(np.int64)
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
    y: Any, n_outputs: int | None, dtype: DType | type, *, rows_sum_to_one: bool, name: str = "y"
) -> Array:
    """Return probability targets as a C-ordered (n, K) array of `dtype`.

    Raises
    ------
    ValueError
        If one lies outside [0, 1], the number of columns is not `n_outputs`, or, with `rows_sum_to_one`, a
        row's sum is off by more than 1e-3 (a bound that float16 probabilities meet).
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
            worst = int(np.abs(totals - 1.0).argmax())
            said = f"each row of probabilities must sum to 1; row {worst} sums to {totals[worst]:.6g}"
            if ((y == 0) | (y == 1)).all():
                said += '. For labels that do not exclude each other, 0 or 1 each, it is loss="sigmoid"'
            raise ValueError(f"{name}: {said}")
    return np.require(y, dtype, ("C", "A"))


def dense(coef: Any) -> Array:
    """Return coefficients as a dense array; `sparsify` may have made them sparse."""
    return coef if isinstance(coef, np.ndarray) else coef.toarray()


def same_rows(X: Any, y: Any, *, name: str = "y") -> None:
    """Raise ValueError unless X and y have the same number of rows."""
    if X.shape[0] != y.shape[0]:
        raise ValueError(f"X has {X.shape[0]} rows and {name} has {y.shape[0]}; they must agree")


def targets(y: Any, n_classes: int | None, loss: str, rows: Rows) -> Array:
    """Return validated targets: int64 labels (n,), or probabilities (n, K) in the dtype of X's products."""
    family = losses.family(loss)
    refuse_masked("y", y)
    y = np.asarray(y)
    same_rows(rows, y.reshape(-1) if y.ndim == 0 else y)
    if y.ndim == 1 and family.TAKES_LABELS:
        return labels(y, n_classes)
    return probabilities(y, n_classes, compute_dtype(rows), rows_sum_to_one=family.ROWS_SUM_TO_ONE)
