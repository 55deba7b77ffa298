"""Elementwise functions of rows of equal length (sigmoids and their losses), in whole registers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

from fastsoftmax.runtime.numba_internals import cgutils
from fastsoftmax.simd.exp import constant, emit_exp, emit_log1p_of_unit
from fastsoftmax.simd.registers import (
    call,
    data_and_length,
    for_each_register,
    is_row,
    load,
    rotated,
    splat,
    store,
    suffix,
    vector_type,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def _element_by_element(n_rows: int, emit: Callable[..., None]) -> Any:
    """Return the typing function of f(row, …) over `n_rows` rows of equal length and dtype.

    `emit(builder, get, put)` emits the work on one register: ``get(i)`` loads it from row i, ``put(i,
    value)`` stores it to row i.
    """

    def typed(typingctx, *kinds):
        if len(kinds) != n_rows or not all(is_row(row) and row.dtype == kinds[0].dtype for row in kinds):
            return None

        def codegen(context, builder, signature, arguments):
            kind = vector_type(kinds[0].dtype)
            rows = [data_and_length(context, builder, k, a) for k, a in zip(kinds, arguments)]

            def body(offset, mask):
                def get(i: int) -> Any:
                    address = builder.gep(rows[i][0], [offset])
                    return load(builder, address, kind, mask, constant(kind, 0.0))

                def put(i: int, value: Any) -> None:
                    store(builder, value, builder.gep(rows[i][0], [offset]), mask)

                emit(builder, get, put)

            for_each_register(builder, kind, *rows[0], body)
            return context.get_dummy_value()

        return types.void(*kinds), codegen

    return typed


def _emit_folded(builder: Any, z: Any) -> tuple[Any, Any, Any]:
    """Emit |z|, e^(−|z|) (which cannot overflow) and the mask z ≥ 0."""
    kind = z.type
    zero = constant(kind, 0.0)
    magnitude = call(builder, f"llvm.fabs.{suffix(kind)}", kind, [z])
    e = emit_exp(builder, builder.fneg(magnitude), zero, exact=False)
    return magnitude, e, builder.fcmp_ordered(">=", z, zero)


def _emit_sigmoid(builder: Any, get: Any, put: Any) -> None:
    _, e, positive = _emit_folded(builder, get(0))
    one = constant(e.type, 1.0)
    put(1, builder.fdiv(builder.select(positive, one, e), builder.fadd(one, e)))


def _emit_log_sigmoid(builder: Any, get: Any, put: Any) -> None:
    z = get(0)
    _, e, positive = _emit_folded(builder, z)
    negative_part = builder.select(positive, constant(e.type, 0.0), z)
    put(1, builder.fsub(negative_part, emit_log1p_of_unit(builder, e)))


@intrinsic
def sigmoid_to(typingctx, row, out):
    """Write 1 / (1 + e^(−row)) to out, which may be row; both (n,) of one float dtype."""
    return _element_by_element(2, _emit_sigmoid)(typingctx, row, out)


@intrinsic
def log_sigmoid_to(typingctx, row, out):
    """Write −log(1 + e^(−row)) to out, which may be row; both (n,) of one float dtype."""
    return _element_by_element(2, _emit_log_sigmoid)(typingctx, row, out)


@intrinsic
def any_outside_unit(typingctx, row):
    """Return whether any element of row (n,) lies outside [0, 1]; NaN does."""
    if not is_row(row):
        return None

    def codegen(context, builder, signature, arguments):
        kind = vector_type(row.dtype)
        data, length = data_and_length(context, builder, row, arguments[0])
        zero, one = constant(kind, 0.0), constant(kind, 1.0)
        found = cgutils.alloca_once_value(builder, zero)

        def body(offset, mask):
            x = load(builder, builder.gep(data, [offset]), kind, mask, zero)
            inside = builder.and_(builder.fcmp_ordered(">=", x, zero), builder.fcmp_ordered("<=", x, one))
            builder.store(builder.select(inside, builder.load(found), one), found)

        for_each_register(builder, kind, data, length, body)
        name = f"llvm.vector.reduce.fmax.{suffix(kind)}"
        largest = call(builder, name, kind.element, [builder.load(found)])
        return builder.fcmp_ordered(">", largest, constant(kind.element, 0.0))

    return types.boolean(row), codegen


@intrinsic
def sigmoid_losses(typingctx, row, target, weight, keep, half, out):
    """Return Σ weight (log(1 + e^z) − t z), float64, and write weight (σ(z) − t) to out, which may be row.

    Parameters
    ----------
    row : array (K,), float32 or float64
        The logits z.
    target, weight : arrays (K,), of the dtype of row
    keep, half : scalars, of the dtype of row
        t = keep · target + half: label smoothing.
    out : array (K,), of the dtype of row

    Notes
    -----
    The sum runs in the dtype of row, one partial sum a lane; callers pass at most 2048 float32 at a time.
    """
    rows = (row, target, weight, out)
    if not all(is_row(kind) and kind.dtype == row.dtype == keep == half for kind in rows):
        return None

    def codegen(context, builder, signature, arguments):
        kind = vector_type(row.dtype)
        data, length = data_and_length(context, builder, row, arguments[0])
        others = ((target, arguments[1]), (weight, arguments[2]))
        addresses = [data_and_length(context, builder, *other)[0] for other in others]
        result, _ = data_and_length(context, builder, out, arguments[5])
        keeps, halves = (splat(builder, argument, kind.count) for argument in arguments[3:5])
        zero, one = constant(kind, 0.0), constant(kind, 1.0)
        total = cgutils.alloca_once_value(builder, zero)

        def body(offset, mask):
            z, t, w = (load(builder, builder.gep(p, [offset]), kind, mask, zero) for p in (data, *addresses))
            t = builder.fadd(builder.fmul(t, keeps), halves)
            magnitude, e, positive = _emit_folded(builder, z)
            p = builder.fdiv(builder.select(positive, one, e), builder.fadd(one, e))
            # max(z, 0) − t z = mismatch · |z|: an infinite logit on its target's side must give 0, not NaN.
            mismatch = builder.select(positive, builder.fsub(one, t), t)
            linear = builder.fmul(mismatch, magnitude)
            linear = builder.select(builder.fcmp_ordered("==", mismatch, zero), zero, linear)
            loss = builder.fmul(w, builder.fadd(linear, emit_log1p_of_unit(builder, e)))
            if mask is not None:
                loss = builder.select(mask, loss, zero)
            builder.store(builder.fadd(builder.load(total), loss), total)
            store(builder, builder.fmul(w, builder.fsub(p, t)), builder.gep(result, [offset]), mask)

        lane = for_each_register(builder, kind, data, length, body)
        sums = rotated(builder, builder.load(total), lane)
        name = f"llvm.vector.reduce.fadd.{suffix(kind)}"
        value = call(builder, name, kind.element, [constant(kind.element, 0.0), sums], flags=("reassoc",))
        return context.cast(builder, value, row.dtype, types.float64)

    return types.float64(row, target, weight, keep, half, out), codegen


if numba.config.DISABLE_JIT:  # an intrinsic has no Python body: kernels run as plain Python need one

    def sigmoid_to(row, out):  # noqa: D103
        e = np.exp(-np.abs(row))
        out[:] = np.where(row >= 0, 1, e) / (1 + e)

    def log_sigmoid_to(row, out):  # noqa: D103
        out[:] = np.minimum(row, 0) - np.log1p(np.exp(-np.abs(row)))

    def any_outside_unit(row):  # noqa: D103
        return not ((row >= 0) & (row <= 1)).all()

    def sigmoid_losses(row, target, weight, keep, half, out):  # noqa: D103
        t = keep * target + half
        e = np.exp(-np.abs(row))
        mismatch = np.where(row >= 0, 1 - t, t)
        with np.errstate(invalid="ignore"):
            linear = np.where(mismatch == 0, 0, mismatch * np.abs(row))
        value = float((weight * (linear + np.log1p(e))).sum())
        out[:] = weight * (np.where(row >= 0, 1, e) / (1 + e) - t)
        return value
