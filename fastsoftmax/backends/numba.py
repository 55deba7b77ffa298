"""The functions on logits inside other people's jitted functions.

Numba calls `register` once a process, before it compiles anything (the entry point "numba_extensions" of the
installed package): `fastsoftmax.softmax` and the others can then be called in `@njit` code, and in a
`prange`. They are serial there, and call this package's own kernels by their addresses, so that nothing of
those is compiled into the caller. An address is of a process: Numba does not cache such callers on disk, and
says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import TypingError, types
from numba.extending import intrinsic, overload

from fastsoftmax import functional
from fastsoftmax.losses.softmax import SoftmaxIndex
from fastsoftmax.runtime import lazy_imports, library
from fastsoftmax.runtime.kernels import Kernel
from fastsoftmax.simd.sizes import MAX_CLASSES

if TYPE_CHECKING:
    from collections.abc import Callable

FLOATS = {types.float32: "f4", types.float64: "f8"}
ROWS = "fastsoftmax.kernels.cpu.jitted.rows"


@lazy_imports.once
def register() -> None:
    """Tell Numba, once, what the functions are in jitted code. Compiles nothing, and imports no kernel."""
    overload(functional.softmax)(_map("softmax"))
    overload(functional.log_softmax)(_map("log_softmax"))
    overload(functional.logsumexp)(_logsumexp)
    overload(functional.cross_entropy)(_cross_entropy)
    overload(functional.cross_entropy_value_and_grad)(_cross_entropy_value_and_grad)


def _address(name: str, signature: str) -> Any:
    """Return an intrinsic that gives the address of a row kernel for arguments of a signature."""
    found = library.address(ROWS, name, signature)
    if found is None:
        native: Any = lazy_imports.module("fastsoftmax.runtime.native")
        kinds = native.kinds(f"q,q,q,{signature}")
        found = native.address_of(Kernel(ROWS, name).jitted.serial, *kinds)

    @intrinsic
    def address(typingctx):
        def codegen(context, builder, signature, arguments):
            # As an address that is of this process: Numba then refuses to keep the caller on disk.
            place = context.add_dynamic_addr(builder, found, info=f"fastsoftmax.{name}")
            return builder.ptrtoint(place, context.get_value_type(types.int64))

        return types.int64(), codegen

    return address


def _call() -> Any:
    """Return what calls a function by its address in jitted code."""
    native: Any = lazy_imports.module("fastsoftmax.runtime.native")
    return native.call


def _check_rows(name: str, x: Any) -> str:
    """Return the code of an array's dtype. Raises TypingError for what kernels do not take."""
    if not isinstance(x, types.Array) or x.dtype not in FLOATS or x.ndim not in (1, 2):
        raise TypingError(f"{name}: jitted code takes (n, K) or (K,) arrays of float32 or float64; got {x}")
    return FLOATS[x.dtype]


def _check_out(name: str, out: Any, x: Any) -> bool:
    """Return whether there is an `out`. Raises TypingError unless it is a C-ordered array like x."""
    if _is_none(out):
        return False
    if not isinstance(out, types.Array) or (out.dtype, out.ndim, out.layout) != (x.dtype, x.ndim, "C"):
        raise TypingError(f"{name}: out must be a C-ordered array of {x.dtype}, like its argument; got {out}")
    return True


def _is_none(kind: Any) -> bool:
    """Return whether an argument is None, or left out with that default."""
    return kind is None or isinstance(kind, types.NoneType) or getattr(kind, "value", 0) is None


def _map(name: str) -> Callable[..., Any]:
    """Return the overload of softmax or log_softmax."""

    # Numba compares the parameters with those of what is returned, annotations too.
    def overloaded(x, axis=None, out=None):
        code = _check_rows(name, x)
        address, call = _address(name, f"{code}:2C,{code}:2C"), _call()
        whole, has_out = _is_none(axis), _check_out(name, out, x)

        def implementation(x, axis=None, out=None):
            if not whole and axis != -1 and axis != x.ndim - 1:
                raise ValueError("in jitted code the axis is the last one, or None")
            result = out if has_out else np.empty(x.shape, x.dtype)
            if has_out and out.shape != x.shape:
                raise ValueError("out must have the shape of x")
            if x.size:
                length = x.size if whole else x.shape[-1]
                rows = np.ascontiguousarray(x).reshape((x.size // length, length))
                call(address(), (0, len(rows), 0, rows, result.reshape((x.size // length, length))))
            return result

        return implementation

    return overloaded


def _logsumexp(a, axis=None):
    """Overload logsumexp: a number for a vector or for all, an array for the rows of a matrix."""
    code = _check_rows("logsumexp", a)
    address, call = _address("logsumexp", f"{code}:2C,{code}:1C"), _call()
    if a.ndim == 2 and not _is_none(axis):

        def of_rows(a, axis=None):
            if axis != 1 and axis != -1:
                raise ValueError("in jitted code the axis is the last one, or None")
            sums = np.full(a.shape[0], -np.inf, a.dtype)
            if a.size:
                call(address(), (0, len(a), 0, np.ascontiguousarray(a), sums))
            return sums

        return of_rows

    def of_all(a, axis=None):
        sums = np.full(1, -np.inf, a.dtype)
        if a.size:
            call(address(), (0, 1, 0, np.ascontiguousarray(a).reshape((1, a.size)), sums))
        return sums[0]

    return of_all


def _cross_entropy(logits, target, ignore_index=-100):
    """Overload cross_entropy: the mean, in nats, of logits (n, K) with integer labels (n,)."""
    mean_loss = _mean_loss(logits, target)

    def implementation(logits, target, ignore_index=-100):
        return mean_loss(logits, target, ignore_index, np.empty((0, logits.shape[1]), logits.dtype))

    return implementation


def _cross_entropy_value_and_grad(logits, target, ignore_index=-100, out=None):
    """Overload cross_entropy_value_and_grad: the same, and its gradient (n, K), in `out` if given."""
    mean_loss = _mean_loss(logits, target)
    has_out = _check_out("cross_entropy_value_and_grad", out, logits)

    def implementation(logits, target, ignore_index=-100, out=None):
        grad = out if has_out else np.empty(logits.shape, logits.dtype)
        if has_out and out.shape != logits.shape:
            raise ValueError("out must have the shape of logits")
        return mean_loss(logits, target, ignore_index, grad), grad

    return implementation


def _mean_loss(logits: Any, target: Any) -> Any:
    """Return the mean of plain cross-entropies as a jitted function. Raises TypingError for other types.

    Of the kernels that the function called from Python takes, so that it has the same bits, up to the size
    from which that adds parts.
    """
    code = _check_rows("cross_entropy", logits)
    if logits.ndim != 2 or not isinstance(target, types.Array) or target.ndim != 1:
        raise TypingError(f"cross_entropy: jitted code takes (n, K) and labels (n,); got {logits}, {target}")
    if not isinstance(target.dtype, types.Integer):
        raise TypingError(f"cross_entropy: jitted code takes integer labels; got {target.dtype}")
    from numba import njit

    call = _call()
    plain = _address("plain_cross_entropy", f"{code}:2C,i8:1C,q,?,{code}:2C,f8:1C")
    losses = _address(
        "row_losses", f"SoftmaxIndex(f8:1C,d,d,d,d),{code}:2C,i8:1C,f8:1C,q,f8:1C,{code}:2C,f8:2C"
    )

    @njit(no_cpython_wrapper=True)
    def mean_loss(logits, target, ignore_index, slopes):
        n_rows, n_classes = logits.shape
        if len(target) != n_rows:
            raise ValueError("target must have a label for each row of logits")
        x, labels = np.ascontiguousarray(logits), target.astype(np.int64)
        counted = 0
        for label in labels:
            if label != ignore_index:
                counted += 1
                if label < 0 or label >= n_classes:
                    raise ValueError("target must hold labels in [0, K) or ignore_index")
        if n_classes <= MAX_CLASSES:
            result = np.zeros(3)
            mean = n_rows >= 0
            call(plain(), (0, n_rows, 0, x, labels, np.int64(ignore_index), mean, slopes, result))
            return result[0] if counted else np.nan
        scale = 1.0 / counted if counted else 1.0
        loss = SoftmaxIndex(np.full(n_classes, scale), n_classes * scale, 0.0, 0.0, 0.0)
        sums, empty = np.zeros((1, 1)), np.empty(0)
        call(losses(), (0, n_rows, 0, loss, x, labels, empty, np.int64(ignore_index), empty, slopes, sums))
        return sums[0, 0] if counted else np.nan

    return mean_loss
