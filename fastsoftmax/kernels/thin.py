"""Products of a tile of rows with a thin matrix: few classes, in register tiles.

BLAS packs its matrices for square products; with ten columns it spends more time on that than on multiplying.
Here both products run along the features, which lie together in memory, so that no class is padded: forward,
the dot products of a few rows with a few classes stand in registers while the features go by; back, a few
classes' gradients over a few registers of features stand there while the rows go by.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import llvmlite.binding
import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastsoftmax.kernels import native
from fastsoftmax.kernels.jit import jit
from fastsoftmax.kernels.lanes import (
    INT32,
    INT64,
    REGISTER_BYTES,
    call,
    load,
    prefetch,
    splat,
    store,
    suffix,
    vector_type,
)
from fastsoftmax.kernels.vector import constant

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

# Registers of 64 bytes: AVX-512 has 32, of which 20 sums leave room for what is multiplied; elsewhere one is
# two or four of the machine's, which has 16 or 32.
HAS_WIDE_REGISTERS = bool(llvmlite.binding.get_host_cpu_features().get("avx512f", False))
ROWS, CLASSES = (4, 5) if HAS_WIDE_REGISTERS else (2, 3)
REGISTERS = 4 if HAS_WIDE_REGISTERS else 2
MOST_CLASSES = 256 if HAS_WIDE_REGISTERS else 32  # from there on BLAS is as fast


def _row(builder: Any, array: Any, row: Any, column: Any) -> Any:
    """Return the address of an element of a C-ordered matrix."""
    width = builder.extract_value(array.shape, 1)
    return builder.gep(array.data, [builder.add(builder.mul(row, width), column)])


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return call(builder, f"llvm.fma.{suffix(a.type)}", a.type, [a, b, c])


def _whole_and_masked(builder: Any, kind: Any, length: Any, body: Callable[[Any, Any], None]) -> None:
    """Emit body(offset, mask) for the registers of a row, the last one masked if it is not whole."""
    lanes = ir.Constant(INT64, kind.count)
    whole = builder.sdiv(length, lanes)
    with cgutils.for_range(builder, whole) as loop:
        body(builder.mul(loop.index, lanes), None)
    done = builder.mul(whole, lanes)
    with builder.if_then(builder.icmp_signed("<", done, length)):
        body(done, _mask(builder, kind, builder.sub(length, done)))


def _mask(builder: Any, kind: Any, left: Any) -> Any:
    numbers = ir.Constant(ir.VectorType(INT32, kind.count), list(range(kind.count)))
    return builder.icmp_signed("<", numbers, splat(builder, builder.trunc(left, INT32), kind.count))


@intrinsic(prefer_literal=True)
def _dots(typingctx, X, row, W, k, out, ahead, n_rows, n_classes):
    """Write the dot products of rows row, row + 1, … of X with those from k on of W; counts are literals.

    What lies `ahead` elements further on than X's rows is fetched into cache.
    """
    signature = types.void(X, row, W, k, out, ahead, n_rows, n_classes)

    def codegen(context, builder, sig, arguments):
        kind = vector_type(X.dtype)
        x, w, z = (
            context.make_array(t)(context, builder, a)
            for t, a in ((X, arguments[0]), (W, arguments[2]), (out, arguments[4]))
        )
        zero = ir.Constant(INT64, 0)
        rows = [builder.add(arguments[1], ir.Constant(INT64, r)) for r in range(n_rows.literal_value)]
        classes = [builder.add(arguments[3], ir.Constant(INT64, g)) for g in range(n_classes.literal_value)]
        x_rows = [_row(builder, x, r, zero) for r in rows]
        w_rows = [_row(builder, w, c, zero) for c in classes]
        nothing = constant(kind, 0.0)
        sums = [[cgutils.alloca_once_value(builder, nothing) for _ in classes] for _ in rows]

        def multiply(offset: Any, mask: Any) -> None:
            left = []
            for p in x_rows:
                here = builder.gep(p, [offset])
                prefetch(builder, builder.gep(here, [arguments[5]]), to_write=False)
                left.append(load(builder, here, kind, mask, nothing))
            for g, p in enumerate(w_rows):
                right = load(builder, builder.gep(p, [offset]), kind, mask, nothing)
                for r, value in enumerate(left):
                    builder.store(_fma(builder, value, right, builder.load(sums[r][g])), sums[r][g])

        _whole_and_masked(builder, kind, builder.extract_value(x.shape, 1), multiply)
        start = ir.Constant(kind.element, 0.0)
        name = f"llvm.vector.reduce.fadd.{suffix(kind)}"
        for r, row_index in enumerate(rows):
            for g, class_index in enumerate(classes):
                total = call(builder, name, kind.element, [start, builder.load(sums[r][g])], ("reassoc",))
                builder.store(total, _row(builder, z, row_index, class_index))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic(prefer_literal=True)
def _outers(typingctx, M, k, X, n_rows, j, out, n_classes, masked):
    """Write Σᵢ mᵢₖ xᵢⱼ for a few classes from k on and `REGISTERS` of features from j on to out.

    `masked` is a literal 1 where the features end before the registers do.
    """
    signature = types.void(M, k, X, n_rows, j, out, n_classes, masked)

    def codegen(context, builder, sig, arguments):
        kind = vector_type(X.dtype)
        m, x, product = (
            context.make_array(t)(context, builder, a)
            for t, a in ((M, arguments[0]), (X, arguments[2]), (out, arguments[5]))
        )
        first = arguments[4]
        offsets = [builder.add(first, ir.Constant(INT64, r * kind.count)) for r in range(REGISTERS)]
        classes = [builder.add(arguments[1], ir.Constant(INT64, g)) for g in range(n_classes.literal_value)]
        nothing = constant(kind, 0.0)
        masks: list[Any] = [None] * REGISTERS
        if masked.literal_value:
            n_features = builder.extract_value(x.shape, 1)
            masks = [_mask(builder, kind, builder.sub(n_features, offset)) for offset in offsets]
        sums = [[cgutils.alloca_once_value(builder, nothing) for _ in offsets] for _ in classes]
        with cgutils.for_range(builder, arguments[3]) as loop:
            right = [
                load(builder, _row(builder, x, loop.index, offset), kind, mask, nothing)
                for offset, mask in zip(offsets, masks, strict=True)
            ]
            for g, class_index in enumerate(classes):
                share = builder.load(_row(builder, m, loop.index, class_index))
                left = splat(builder, share, kind.count)
                for r, value in enumerate(right):
                    builder.store(_fma(builder, left, value, builder.load(sums[g][r])), sums[g][r])
        for g, class_index in enumerate(classes):
            for r, offset in enumerate(offsets):
                store(
                    builder, builder.load(sums[g][r]), _row(builder, product, class_index, offset), masks[r]
                )
        return context.get_dummy_value()

    return signature, codegen


if numba.config.DISABLE_JIT:  # an intrinsic has no Python body: kernels run as plain Python need one

    def _dots(X, row, W, k, out, ahead, n_rows, n_classes):
        out[row : row + n_rows, k : k + n_classes] = X[row : row + n_rows] @ W[k : k + n_classes].T

    def _outers(M, k, X, n_rows, j, out, n_classes, masked):
        columns = slice(j, j + REGISTERS * (REGISTER_BYTES // X.itemsize))
        out[k : k + n_classes, columns] = M[:n_rows, k : k + n_classes].T @ X[:n_rows, columns]


@jit
def _size_of_group(left, most):
    """Return how many to take of those that are left, so that all groups are nearly alike."""
    n_groups = (left + most - 1) // most
    return (left + n_groups - 1) // n_groups


@jit
def dots_to(X, W, out):
    """Write X Wᵀ to out (n, K), for C-ordered X (n, d) and W (K, d) of one dtype.

    As many rows after X's are fetched into cache: those of the next tile, where X is one of several.
    """
    n_rows = X.shape[0]
    ahead = X.size
    n_classes = W.shape[0]
    by_many = n_rows // ROWS * ROWS
    k = 0
    while k < n_classes:
        size = _size_of_group(n_classes - k, CLASSES)
        for row in range(0, by_many, ROWS):
            if size == 5:
                _dots(X, row, W, k, out, ahead, ROWS, 5)
            elif size == 4:
                _dots(X, row, W, k, out, ahead, ROWS, 4)
            elif size == 3:
                _dots(X, row, W, k, out, ahead, ROWS, 3)
            else:
                for one in range(k, k + size):
                    _dots(X, row, W, one, out, ahead, ROWS, 1)
        for row in range(by_many, n_rows):
            for one in range(k, k + size):
                _dots(X, row, W, one, out, ahead, 1, 1)
        k += size
        ahead = 0


@jit
def outer_to(M, X, out):
    """Write Mᵀ X to out (K, d), for C-ordered M (n, K) and X (n, d) of one dtype."""
    n_rows, n_features = X.shape
    n_classes = M.shape[1]
    block = REGISTERS * (REGISTER_BYTES // X.itemsize)
    whole = n_features // block * block
    k = 0
    while k < n_classes:
        size = _size_of_group(n_classes - k, CLASSES)
        if size == 5:
            for j in range(0, whole, block):
                _outers(M, k, X, n_rows, j, out, 5, 0)
            if whole < n_features:
                _outers(M, k, X, n_rows, whole, out, 5, 1)
        elif size == 4:
            for j in range(0, whole, block):
                _outers(M, k, X, n_rows, j, out, 4, 0)
            if whole < n_features:
                _outers(M, k, X, n_rows, whole, out, 4, 1)
        elif size == 3:
            for j in range(0, whole, block):
                _outers(M, k, X, n_rows, j, out, 3, 0)
            if whole < n_features:
                _outers(M, k, X, n_rows, whole, out, 3, 1)
        else:
            for one in range(k, k + size):
                for j in range(0, whole, block):
                    _outers(M, one, X, n_rows, j, out, 1, 0)
                if whole < n_features:
                    _outers(M, one, X, n_rows, whole, out, 1, 1)
        k += size


class Products(NamedTuple):
    """Where the two products lie (`native.call`)."""

    dots_to: int
    outer_to: int


@functools.cache
def products(dtype: np.dtype[Any]) -> Products:
    """Return the products compiled for a dtype."""
    matrix = types.Array(numba.from_dtype(dtype), 2, "C")
    return Products(*(native.address_of(function, *(matrix,) * 3) for function in (dots_to, outer_to)))
