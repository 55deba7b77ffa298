"""Skinny products: a tile of rows times a matrix of few classes, in register tiles.

BLAS packs its matrices for square products; with ten columns it spends more time packing than multiplying.
Here both products run along the features, which are contiguous, so that no class is padded: forward, the dot
products of a few rows with a few classes are accumulated in registers over the features; back, the gradients
of a few classes over a few registers of features are accumulated over the rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastsoftmax.runtime.cpu_level import has_fma
from fastsoftmax.runtime.jit import inner, jit
from fastsoftmax.runtime.numba_internals import cgutils
from fastsoftmax.runtime.width import width
from fastsoftmax.simd.exp import constant
from fastsoftmax.simd.registers import (
    INT32,
    INT64,
    call,
    load,
    prefetch,
    splat,
    store,
    suffix,
    vector_type,
)
from fastsoftmax.simd.sizes import REGISTER_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable


HAS_FMA = has_fma()
ROWS, CLASSES, REGISTERS, MAX_CLASSES = width()
MATRICES = [f"{x}:2C,{x}:2C,{x}:2C" for x in ("f4", "f8")]


def _row(builder: Any, array: Any, row: Any, column: Any) -> Any:
    """Return the address of an element of a C-ordered matrix."""
    width = builder.extract_value(array.shape, 1)
    return builder.gep(array.data, [builder.add(builder.mul(row, width), column)])


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    if not HAS_FMA:  # the intrinsic would be a call of C's fma for each lane
        return builder.fadd(builder.fmul(a, b), c)
    return call(builder, f"llvm.fma.{suffix(a.type)}", a.type, [a, b, c])


def _whole_and_masked(builder: Any, kind: Any, length: Any, body: Callable[[Any, Any], None]) -> None:
    """Emit body(offset, mask) for the registers of a row; mask is None except for a partial last one."""
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
    """Write the dot products of rows row, row + 1, … of X with rows k, k + 1, … of W to out (n, K).

    `n_rows` and `n_classes`, their numbers, are literals. The elements `ahead` of X's are prefetched.
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
        zeros = constant(kind, 0.0)
        sums = [[cgutils.alloca_once_value(builder, zeros) for _ in classes] for _ in rows]

        def multiply(offset: Any, mask: Any) -> None:
            left = []
            for p in x_rows:
                address = builder.gep(p, [offset])
                prefetch(builder, builder.gep(address, [arguments[5]]), to_write=False)
                left.append(load(builder, address, kind, mask, zeros))
            for g, p in enumerate(w_rows):
                right = load(builder, builder.gep(p, [offset]), kind, mask, zeros)
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
    """Write Σᵢ mᵢₖ xᵢⱼ for `n_classes` classes from k on and `REGISTERS` registers of features from j on.

    `n_classes` is a literal; so is `masked`, 1 where the features end before the registers do.
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
        zeros = constant(kind, 0.0)
        masks: list[Any] = [None] * REGISTERS
        if masked.literal_value:
            n_features = builder.extract_value(x.shape, 1)
            masks = [_mask(builder, kind, builder.sub(n_features, offset)) for offset in offsets]
        sums = [[cgutils.alloca_once_value(builder, zeros) for _ in offsets] for _ in classes]
        with cgutils.for_range(builder, arguments[3]) as loop:
            right = [
                load(builder, _row(builder, x, loop.index, offset), kind, mask, zeros)
                for offset, mask in zip(offsets, masks, strict=True)
            ]
            for g, class_index in enumerate(classes):
                entry = builder.load(_row(builder, m, loop.index, class_index))
                left = splat(builder, entry, kind.count)
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


@inner
def _group_size(remaining, limit):
    """Return the size of the next group, at most `limit`, such that all groups are of nearly equal size."""
    n_groups = (remaining + limit - 1) // limit
    return (remaining + n_groups - 1) // n_groups


@jit(signatures=MATRICES)
def dots_to(X, W, out):
    """Write X Wᵀ to out (n, K), for C-ordered X (n, d) and W (K, d) of one dtype. 2 n d K flops.

    The n rows that follow X in memory are prefetched: the next tile, where X is one of several.
    """
    n_rows = X.shape[0]
    ahead = X.size
    n_classes = W.shape[0]
    tiled_rows = n_rows // ROWS * ROWS
    k = 0
    while k < n_classes:
        size = _group_size(n_classes - k, CLASSES)
        for row in range(0, tiled_rows, ROWS):
            if size == 5:
                _dots(X, row, W, k, out, ahead, ROWS, 5)
            elif size == 4:
                _dots(X, row, W, k, out, ahead, ROWS, 4)
            elif size == 3:
                _dots(X, row, W, k, out, ahead, ROWS, 3)
            else:
                for class_index in range(k, k + size):
                    _dots(X, row, W, class_index, out, ahead, ROWS, 1)
        for row in range(tiled_rows, n_rows):
            for class_index in range(k, k + size):
                _dots(X, row, W, class_index, out, ahead, 1, 1)
        k += size
        ahead = 0


@jit(signatures=MATRICES)
def outer_to(M, X, out):
    """Write Mᵀ X to out (K, d), for C-ordered M (n, K) and X (n, d) of one dtype. 2 n d K flops."""
    n_rows, n_features = X.shape
    n_classes = M.shape[1]
    block = REGISTERS * (REGISTER_BYTES // X.itemsize)
    whole = n_features // block * block
    k = 0
    while k < n_classes:
        size = _group_size(n_classes - k, CLASSES)
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
            for class_index in range(k, k + size):
                for j in range(0, whole, block):
                    _outers(M, class_index, X, n_rows, j, out, 1, 0)
                if whole < n_features:
                    _outers(M, class_index, X, n_rows, whole, out, 1, 1)
        k += size
