"""softmax, log_softmax and logsumexp along any axis of any array: drop-ins for `scipy.special`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax import devices
from fastsoftmax.functional.arguments import FLOATS, check_out, is_bf16, is_free, is_narrow, is_same

if TYPE_CHECKING:
    from typing import TypeAlias

    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import Array

    Axis: TypeAlias = "int | tuple[int, ...] | None"

MIN_COLUMNS = 64  # fewer do not fill the registers in which columns are processed side by side
MAX_SLABS = 64  # matrices of one array, each a kernel call: more of them are transposed instead


def softmax(x: ArrayLike, axis: int | tuple[int, ...] | None = None, *, out: Any = None) -> Array:
    """Return the softmax of an array: e^x divided by its sum along an axis.

    softmax(x)ₖ = e^(xₖ − max x) / Σⱼ e^(xⱼ − max x)

    Parameters
    ----------
    x : array_like
        Any shape, strides and memory order.
    axis : int or tuple of ints, optional
        The axes summed over; None takes all of them.
    out : ndarray, optional
        Receives the result; of x's shape and the result's dtype. May be x itself.

    Returns
    -------
    ndarray
        Of x's shape. float32 and float64 stay as they are, float16 and bfloat16 are computed in float32 and
        returned narrow, integers and booleans give float64.

    Raises
    ------
    ValueError
        If `out` has another shape or dtype than the result.
    TypeError
        If `out` is no ndarray.

    Notes
    -----
    As `scipy.special.softmax`, which is called where there is no fast path (complex, long double, object and
    masked arrays). An array on an NVIDIA GPU (CuPy, PyTorch, any with DLPack) is computed there, on its
    library's stream, and the result is of the same library; so is that of another library's array in host
    memory, which is read where it is (`fastsoftmax.torch` has functions that record gradients). bfloat16
    arrays have the dtype `ml_dtypes.bfloat16`; bits held as uint16 become one by
    ``x.view(ml_dtypes.bfloat16)``, without a copy.

    The exponentials are of the exact differences x − max, so that the result is within 2 ulp however large
    they are; float32 sums of more than 128 terms are accumulated in float64. One reading of x and one writing
    of the result, along any axis of a C-ordered array.

    Examples
    --------
    >>> import numpy as np, fastsoftmax
    >>> fastsoftmax.softmax(np.array([0.0, np.log(3.0)])).round(12)
    array([0.25, 0.75])
    """
    return _along("softmax", x, axis, out)


def log_softmax(x: ArrayLike, axis: int | tuple[int, ...] | None = None, *, out: Any = None) -> Array:
    """Return the logarithm of the softmax of an array, x − log Σ e^x, without forming the softmax.

    Parameters, result, errors and costs are those of `softmax`; as `scipy.special.log_softmax`.

    Notes
    -----
    The entries at the maximum keep their relative accuracy where they are close to zero (log1p of the sum of
    the others), so that the loss of a confident row is not rounded away.

    Examples
    --------
    >>> import numpy as np, fastsoftmax
    >>> fastsoftmax.log_softmax(np.array([1000.0, 1.0]))
    array([   0., -999.])
    """
    return _along("log_softmax", x, axis, out)


def _along(name: str, x: Any, axis: Axis, out: Any) -> Array:
    """Return softmax or log_softmax of any array along any axes, by the fastest path that it allows."""
    if _is_plain(x, axis) and (out is None or is_free(out, x)):
        out = np.empty_like(x) if out is None else out
        getattr(devices.host(), name)(x, out)
        return out
    if isinstance(x, np.generic):
        x = np.asarray(x)
    if (device := devices.elsewhere(x)) is not None:
        return device.along(name, x, axis, out)
    if (guest := devices.guest("x", x)) is not None:
        result = _along(name, guest.array, axis, out)
        return guest.given_back(result) if out is None else result
    if isinstance(x, np.ndarray) and is_narrow(x.dtype):
        return _narrow_along(name, x, axis, out)
    a = _fast_array(x)
    if a is None or a.size == 0 or a.ndim == 0:
        result = _by_scipy(name, x if a is None else a, axis=axis)
        if out is None:
            return result
        check_out(out, np.shape(result), np.asarray(result).dtype)
        out[...] = result
        return out
    if out is not None:
        check_out(out, a.shape, a.dtype)
    slabs = _slabs(a, axis)
    if slabs is not None:
        free = out is not None and out.strides == a.strides and out.flags.aligned
        free = free and (is_same(out, a) or not np.may_share_memory(out, a))
        result = np.asarray(out) if free else np.empty_like(a)
        for slab, result_slab in zip(slabs, _slabs(result, axis) or ()):
            devices.host().columns(name, slab, result_slab)
        if out is not None and not free:
            out[...] = result
        return result if out is None else out
    write = getattr(devices.host(), name)
    rows = _rows(a, axis)
    in_place = out is not None and _is_rows(out, axis) and _is_rows(a, axis)
    if in_place and (is_same(out, a) or not np.may_share_memory(out, a)):
        write(rows, np.asarray(out).reshape(rows.shape))
        return out
    # `rows` may be a view of x: only a copy may be overwritten.
    target = np.empty(rows.shape, rows.dtype) if np.may_share_memory(rows, a) else rows
    write(rows, target)
    result = _unrowed(target, a.shape, axis)
    if out is None:
        return result
    out[...] = result
    return out


def _by_scipy(name: str, x: Any, **options: Any) -> Any:
    """Return SciPy's result; its exceptions become TypeError, or ValueError for an axis."""
    import scipy.special

    try:
        return getattr(scipy.special, name)(x, **options)
    except IndexError as error:
        raise ValueError(f"axis {options['axis']} is none of an array of shape {np.shape(x)}") from error
    except (AttributeError, NotImplementedError, OverflowError) as error:
        raise TypeError(f"{name} takes an array of numbers; got {type(x).__name__} ({error})") from error


def _narrow_along(name: str, x: Array, axis: Axis, out: Any) -> Array:
    """Return `_along` of float16 or bfloat16: 16 bits in memory, float32 in registers."""
    if out is not None:
        check_out(out, x.shape, x.dtype)
    if x.size and x.ndim and _is_rows(x, axis):
        rows = _rows(x, axis).view(np.uint16)
        free = out is not None and _is_rows(out, axis)
        free = free and (is_same(out, x) or not np.may_share_memory(out, x))
        result = np.asarray(out) if free else np.empty_like(x)
        devices.host().narrow(name, rows, result.reshape(rows.shape).view(np.uint16), is_bf16(x.dtype))
    else:
        result = _along(name, x.astype(np.float32), axis, None).astype(x.dtype)
    if out is None:
        return result
    if not is_same(out, result):
        out[...] = result
    return out


def logsumexp(
    a: ArrayLike,
    axis: int | tuple[int, ...] | None = None,
    b: ArrayLike | None = None,
    keepdims: bool = False,
    return_sign: bool = False,
) -> Any:
    """Return log Σ b e^a along an axis, without overflow.

    Parameters
    ----------
    a : array_like
    axis : int or tuple of ints, optional
        The axes summed over; None takes all of them.
    b : array_like, optional
        Factors, broadcast against a; may be negative or zero.
    keepdims : bool, default False
        Keep the axes summed over with length one.
    return_sign : bool, default False
        Return also the sign of the sum, whose absolute value's logarithm is then the first result.

    Returns
    -------
    res : ndarray or scalar
    sgn : ndarray or scalar
        If `return_sign` is True.

    Notes
    -----
    As `scipy.special.logsumexp`, which is called for `b`, `return_sign` and the arrays that `softmax` leaves
    to SciPy. The maxima are counted apart from the sum of the other terms, so that small terms beside a
    maximum of zero are not lost. One reading of a.

    Examples
    --------
    >>> import numpy as np, fastsoftmax
    >>> float(fastsoftmax.logsumexp(np.array([1000.0, 1000.0])) - 1000.0)
    0.6931471805599453
    """
    if isinstance(a, np.ndarray) and b is None and not (keepdims or return_sign) and _is_plain(a, axis):
        sums = np.empty(len(a), a.dtype)
        devices.host().logsumexp(a, sums)
        return sums
    if isinstance(a, np.generic):
        a = np.asarray(a)
    if (device := devices.elsewhere(a)) is not None:
        if b is not None or return_sign:
            raise NotImplementedError("b and return_sign are for arrays of the host")
        return device.along("logsumexp", a, axis, keepdims=keepdims)
    if (guest := devices.guest("a", a)) is not None:
        found = logsumexp(guest.array, axis, devices.hosted("b", b), keepdims, return_sign)
        return tuple(map(guest.given_back, found)) if return_sign else guest.given_back(found)
    b = devices.hosted("b", b)
    if isinstance(a, np.ndarray) and is_narrow(a.dtype) and b is None and not return_sign:
        return _narrow_logsumexp(a, axis, keepdims)
    x = None if b is not None or return_sign else _fast_array(a)
    if x is None or x.size == 0 or x.ndim == 0:
        a = a if x is None else x  # SciPy has float16 for small integers
        return _by_scipy("logsumexp", a, axis=axis, b=b, keepdims=keepdims, return_sign=return_sign)
    slabs = _slabs(x, axis)
    if slabs is not None:
        out: Array = np.empty((len(slabs), slabs[0].shape[1]), x.dtype)
        for slab, sums in zip(slabs, out):
            devices.host().columns("logsumexp", slab, sums)
    else:
        rows = _rows(x, axis)
        out = np.empty(len(rows), rows.dtype)
        devices.host().logsumexp(rows, out)
    summed = range(x.ndim) if axis is None else _axes(axis, x.ndim)
    if keepdims:
        shape = [1 if i in summed else n for i, n in enumerate(x.shape)]
    else:
        shape = [n for i, n in enumerate(x.shape) if i not in summed]
    result = out.astype(x.dtype, copy=False).reshape(shape)
    return result if shape else result[()]


def _narrow_logsumexp(a: Array, axis: Axis, keepdims: bool) -> Any:
    """Return logsumexp of float16 or bfloat16, computed in float32."""
    if a.ndim == 2 and a.size and axis in (1, -1) and _is_rows(a, axis):
        out = np.empty((len(a), 1), a.dtype)
        devices.host().narrow("logsumexp", a.view(np.uint16), out.view(np.uint16), is_bf16(a.dtype))
        return out.reshape((-1, 1) if keepdims else -1)
    result = np.asarray(logsumexp(a.astype(np.float32), axis=axis, keepdims=keepdims)).astype(a.dtype)
    return result if result.ndim else result[()]


def _is_plain(x: Any, axis: Axis) -> bool:
    """Return whether x is C-ordered rows of native floats, the case whose overhead matters most."""
    return (
        type(x) is np.ndarray
        and x.ndim == 2
        and type(axis) is int
        and (axis == 1 or axis == -1)
        and x.dtype in FLOATS
        and x.flags.c_contiguous
        and x.flags.aligned
        and x.size > 0
    )


def _fast_array(x: Any) -> Array | None:
    """Return x as a float array that has a fast path, or None if it is left to SciPy."""
    if not isinstance(x, np.ndarray):
        if not isinstance(x, (list, tuple, int, float, np.generic)):
            return None
        x = np.asarray(x)
    if type(x) is not np.ndarray and not isinstance(x, np.memmap):
        return None  # masked arrays, matrices and other subclasses have rules of their own
    if x.dtype in FLOATS:
        return x if x.flags.aligned else x.copy()
    if x.dtype.kind in "iub":
        return x.astype(np.float64)
    if x.dtype.kind == "f" and x.dtype.itemsize <= 8:  # the other byte order
        return x.astype(x.dtype.newbyteorder("="))
    return None


def _slabs(a: Array, axis: Axis) -> list[Array] | None:
    """Return views of a as C-ordered matrices (K, n) to be summed by column, or None if it has none.

    C-ordered arrays have them along every axis but the last, F-ordered matrices along axis 1.
    """
    if not isinstance(axis, (int, np.integer)):
        return None
    if a.ndim == 2 and a.flags.f_contiguous and not a.flags.c_contiguous:
        a, axis = a.T, 1 - int(axis) % 2
    axis = _axes(int(axis), a.ndim)[0]
    if not a.flags.c_contiguous or axis == a.ndim - 1:
        return None
    outer, inner = math.prod(a.shape[:axis]), math.prod(a.shape[axis + 1 :])
    if inner < MIN_COLUMNS or outer > MAX_SLABS:
        return None
    return list(a.reshape(outer, a.shape[axis], inner))


def _axes(axis: int | tuple[int, ...], ndim: int) -> tuple[int, ...]:
    """Return the axes as a tuple of non-negative ints. Raises NumPy's AxisError."""
    return tuple(np.lib.array_utils.normalize_axis_tuple(axis, ndim))


def _is_rows(a: Array, axis: Axis) -> bool:
    """Return whether a is C-ordered, aligned, and summed over its last axes, so that `_rows` is a view."""
    if not (a.flags.c_contiguous and a.flags.aligned):
        return False
    if axis is None:
        return True
    axes = _axes(axis, a.ndim)
    return sorted(axes) == list(range(a.ndim - len(axes), a.ndim))


def _rows(a: Array, axis: Axis) -> Array:
    """Return a as C-ordered rows (n, K), the axes summed over in each row; a view if possible."""
    if axis is None:
        return np.ascontiguousarray(a).reshape(1, -1)
    axes = _axes(axis, a.ndim)
    if not axes:
        return np.ascontiguousarray(a).reshape(-1, 1)
    last = range(a.ndim - len(axes), a.ndim)
    moved = np.moveaxis(a, sorted(axes), last)
    length = int(np.prod(moved.shape[a.ndim - len(axes) :]))
    return np.ascontiguousarray(moved).reshape(-1, length)


def _unrowed(rows: Array, shape: tuple[int, ...], axis: Axis) -> Array:
    """Return the array of that shape whose `_rows` these are."""
    if axis is None or not (axes := _axes(axis, len(shape))):
        return rows.reshape(shape)
    last = range(len(shape) - len(axes), len(shape))
    moved_shape = [shape[i] for i in range(len(shape)) if i not in axes] + [shape[i] for i in sorted(axes)]
    return np.moveaxis(rows.reshape(moved_shape), last, sorted(axes))
