"""Row functions for few classes, on row tiles: as many rows as a register has lanes, one row a lane.

Vectorised across classes, a row of ten would leave most of a register empty, and its maximum and sum would
cost more than its exponentials. So 16 rows (8 of float64) are read, transposed in registers, worked on class
by class, transposed back and written. Rows have at most `MAX_CLASSES` elements.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastsoftmax.simd.exp import constant, emit_log1p
from fastsoftmax.simd.registers import (
    INT32,
    INT64,
    call,
    load,
    splat,
    store,
    suffix,
)
from fastsoftmax.simd.sizes import REGISTER_BYTES

__all__ = [
    "MAX_CLASSES",
    "REGISTER_BYTES",
    "cross_entropy_tile",
    "log_softmax_tile",
    "logsumexp_tile",
    "softmax_tile",
]

if TYPE_CHECKING:
    from collections.abc import Callable
from fastsoftmax.simd.tile_registers import (
    MAX_CLASSES,
    Tile,
    all_finite,
    all_true,
    exponentials,
    gathered,
    is_matrix,
    row_maxima,
    rows_of,
    scale_tile,
    tile_of,
    true_classes,
    write_tile,
)


def _tile_function(emit: Callable[[Tile, Any, Any, Any], None], *, finite: bool) -> Any:
    """Return the typing function of f(x, out, first, exact), which returns whether the tile was written.

    `emit(tile, shift, target, ahead)` emits the work on the tile and its writing. With `finite`, a tile with
    an infinite maximum is not written; the caller handles its rows one by one.
    """

    def typed(typingctx, x, out, first, exact):
        flat = isinstance(out, types.Array) and out.layout == "C"
        if not (is_matrix(x) and flat and x.dtype == out.dtype):
            return None

        def codegen(context, builder, signature, arguments):
            row = context.cast(builder, arguments[2], signature.args[2], types.int64)
            tile, ahead = tile_of(context, builder, x, arguments[0], row, arguments[3])
            target = rows_of(context, builder, out, arguments[1], row)
            shift = row_maxima(tile)
            done = all_finite(builder, shift) if finite else ir.Constant(ir.IntType(1), 1)
            with builder.if_then(done, likely=True):
                emit(tile, shift, target, ahead)
            return done

        return types.boolean(x, out, first, exact), codegen

    return typed


def _emit_softmax(tile: Tile, shift: Any, target: Any, ahead: Any) -> None:
    builder = tile.builder
    one = constant(tile.kind, 1.0)
    others = exponentials(tile, shift, ahead, target, stored=True)
    scale_tile(tile, builder.fdiv(one, builder.fadd(one, others)))
    write_tile(tile, target)


def _emit_log_softmax(tile: Tile, shift: Any, target: Any, ahead: Any) -> None:
    builder = tile.builder
    log_total = emit_log1p(builder, exponentials(tile, shift, ahead, target, stored=False))
    with tile.classes() as loop:
        x = builder.fsub(builder.fsub(tile.get(loop.index), shift), log_total)
        tile.put(loop.index, x)
    write_tile(tile, target)


def _emit_logsumexp(tile: Tile, shift: Any, target: Any, ahead: Any) -> None:
    builder = tile.builder
    log_total = emit_log1p(builder, exponentials(tile, shift, ahead, None, stored=False))
    store(builder, builder.fadd(shift, log_total), target)


@intrinsic
def softmax_tile(typingctx, x, out, first, exact):
    """Write the softmax of one tile, the rows from `first` on of x (n, K), to out (may be x); return True.

    Here and below, a tile is as many rows as a register has lanes, K is at most `MAX_CLASSES`, and `exact` is
    that of `emit_exp`.
    """
    return _tile_function(_emit_softmax, finite=False)(typingctx, x, out, first, exact)


@intrinsic
def log_softmax_tile(typingctx, x, out, first, exact):
    """Write the log-softmax of one tile to out (n, K) and return True, or False if a maximum is infinite."""
    return _tile_function(_emit_log_softmax, finite=True)(typingctx, x, out, first, exact)


@intrinsic
def logsumexp_tile(typingctx, x, out, first, exact):
    """Write log Σ e^x of one tile to out (n,) and return True, or False if a maximum is infinite."""
    return _tile_function(_emit_logsumexp, finite=True)(typingctx, x, out, first, exact)


@intrinsic
def cross_entropy_tile(typingctx, x, slopes, target, ignore_index, own, values, first, with_slopes, exact):
    """Return Σ own · ℓ, float64, over one tile with integer targets; write the terms and own · ∂ℓ/∂z.

    Parameters
    ----------
    x : array (n, K), float32 or float64, C-ordered
        The logits.
    slopes : array (n, K), of the dtype of x
        Receives own · ∂ℓ/∂z of the tile's rows if `with_slopes`; may be x.
    target : array (n,), int64
    ignore_index : int
        Rows with this target get exact zeros for any logits, NaN included; so do rows with own = 0.
    own, values : arrays (lanes,), of the dtype of x
        The weights of the tile's rows, and their own · ℓ (written).
    first : int
        The first row of the tile.
    with_slopes, exact : bool
    """
    if not (is_matrix(x) and is_matrix(slopes) and x.dtype == slopes.dtype == own.dtype == values.dtype):
        return None

    def codegen(context, builder, signature, arguments):
        row = context.cast(builder, arguments[6], signature.args[6], types.int64)
        tile, ahead = tile_of(context, builder, x, arguments[0], row, arguments[8])
        target_rows = rows_of(context, builder, slopes, arguments[1], row)
        kind = tile.kind
        zero, one = constant(kind, 0.0), constant(kind, 1.0)
        labels = rows_of(context, builder, target, arguments[2], row)
        classes = true_classes(tile, labels)
        zeroth = ir.Constant(INT64, 0)
        weight = load(builder, rows_of(context, builder, own, arguments[4], zeroth), kind)
        ignored = context.cast(builder, arguments[3], signature.args[3], types.int64)
        is_ignored = builder.icmp_signed(
            "==",
            load(builder, labels, ir.VectorType(INT64, kind.count)),
            splat(builder, ignored, kind.count),
        )
        weight = builder.select(is_ignored, zero, weight)
        shift = row_maxima(tile)
        # One load for each row: comparing every class with the label would cost a step for each class.
        true_logit = gathered(tile, classes)
        others = exponentials(tile, shift, ahead, target_rows, stored=True)
        counted = builder.fcmp_ordered("!=", weight, zero)
        loss = builder.fsub(emit_log1p(builder, others), builder.fsub(true_logit, shift))
        loss = builder.select(counted, builder.fmul(weight, loss), zero)
        store(builder, loss, rows_of(context, builder, values, arguments[5], zeroth))
        wide = ir.VectorType(ir.DoubleType(), kind.count)
        terms = builder.fpext(loss, wide) if kind != wide else loss
        sum_of = f"llvm.vector.reduce.fadd.{suffix(wide)}"
        start = constant(wide.element, 0.0)
        value = call(builder, sum_of, wide.element, [start, terms], flags=("reassoc",))
        with builder.if_then(arguments[7]):
            total = builder.fadd(one, others)
            factor = builder.fdiv(weight, total)
            e = gathered(tile, classes)
            # p − 1 of the true class as −(sum over the other classes): a confident row would lose its digits.
            rest = builder.select(builder.fcmp_ordered("==", e, one), others, builder.fsub(total, e))
            slope = builder.select(counted, builder.fneg(builder.fmul(rest, factor)), zero)
            scale_tile(tile, factor)
            some_ignored = builder.not_(all_true(builder, counted))
            with builder.if_then(some_ignored, likely=False), tile.classes() as loop:
                tile.put(loop.index, builder.select(counted, tile.get(loop.index), zero))
            write_tile(tile, target_rows)
            for r, k in enumerate(classes):
                offset = builder.add(builder.mul(ir.Constant(INT64, r), tile.n_classes), k)
                lane = builder.extract_element(slope, ir.Constant(INT32, r))
                builder.store(lane, builder.gep(target_rows, [offset]))
        return value

    kinds = (x, slopes, target, ignore_index, own, values, first, with_slopes, exact)
    return types.float64(*kinds), codegen


if numba.config.DISABLE_JIT:  # an intrinsic has no Python body: kernels run as plain Python need one
    from fastsoftmax.simd.plain_row_tiles import (
        cross_entropy_tile,
        log_softmax_tile,
        logsumexp_tile,
        softmax_tile,
    )
