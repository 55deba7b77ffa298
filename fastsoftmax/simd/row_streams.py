"""Elementwise functions of whole rows of a C-ordered matrix and vectors over its columns, as one long stream.

A register may hold the end of one row and the beginning of the next. So every store except the first and the
last is aligned, for rows of any length: non-temporal stores (past the caches) must be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastsoftmax.runtime.numba_internals import cgutils
from fastsoftmax.simd.exp import constant, emit_exp
from fastsoftmax.simd.registers import INT32, INT64, is_row, load, splat, store, vector_type
from fastsoftmax.simd.sizes import REGISTER_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable


def _is_matrix(kind: Any, dtype: Any) -> bool:
    return isinstance(kind, types.Array) and kind.ndim == 2 and kind.layout == "C" and kind.dtype == dtype


def _by_rows(emit: Callable[..., Any]) -> Any:
    """Return the typing function of f(x, out, start, stop, past_cache, *vectors): out = emit(x, *vectors)."""

    def typed(typingctx, x, out, start, stop, past_cache, *vectors):
        if not all(is_row(v) and _is_matrix(x, v.dtype) and _is_matrix(out, v.dtype) for v in vectors):
            return None

        def codegen(context, builder, signature, arguments):
            kind = vector_type(x.dtype)
            lanes, zero = ir.Constant(INT64, kind.count), ir.Constant(INT64, 0)
            source, target, *vector_arrays = (
                context.make_array(k)(context, builder, a)
                for k, a in zip((x, out, *vectors), (*arguments[:2], *arguments[5:]))
            )
            begin, end = (context.cast(builder, arguments[i], signature.args[i], types.int64) for i in (2, 3))
            width = builder.extract_value(source.shape, 1)
            size = builder.mul(builder.sub(end, begin), width)
            data, result = (builder.gep(a.data, [builder.mul(begin, width)]) for a in (source, target))
            column = cgutils.alloca_once_value(builder, zero)

            def body(offset, number, past_cache=False):
                """Emit the work on one register, or on its first `number` lanes if a number is given."""
                c, mask, step = builder.load(column), None, lanes
                if number is not None:
                    lane = ir.Constant(ir.VectorType(INT32, kind.count), list(range(kind.count)))
                    step = number
                    mask = builder.icmp_signed(
                        "<", lane, splat(builder, builder.trunc(number, INT32), kind.count)
                    )
                value = load(builder, builder.gep(data, [offset]), kind, mask, constant(kind, 0.0))
                value = emit(
                    builder, value, *(load(builder, builder.gep(v.data, [c]), kind) for v in vector_arrays)
                )
                address = builder.gep(result, [offset])
                if past_cache:
                    _store_past_cache(builder, value, address)
                else:
                    store(builder, value, address, mask)
                following = builder.add(c, step)
                in_next_row = builder.icmp_signed(">=", following, width)
                following = builder.select(in_next_row, builder.sub(following, width), following)
                builder.store(following, column)

            item = ir.Constant(INT64, REGISTER_BYTES // kind.count)
            place = builder.udiv(builder.ptrtoint(result, INT64), item)
            head = builder.and_(builder.neg(place), ir.Constant(INT64, kind.count - 1))
            head = builder.select(builder.icmp_signed("<", head, size), head, size)
            body(zero, head)
            whole = builder.sdiv(builder.sub(size, head), lanes)
            with builder.if_else(arguments[4]) as branches:
                for branch, past in zip(branches, (True, False)):
                    with branch, cgutils.for_range(builder, whole) as loop:
                        body(builder.add(head, builder.mul(loop.index, lanes)), None, past)
            done = builder.add(head, builder.mul(whole, lanes))
            body(done, builder.sub(size, done))
            # Non-temporal stores are not ordered with the flag that reports them done.
            builder.fence("seq_cst")
            return context.get_dummy_value()

        return types.void(x, out, start, stop, past_cache, *vectors), codegen

    return typed


def _store_past_cache(builder: Any, vector: Any, pointer: Any) -> None:
    """Emit a non-temporal store at an aligned address: its cache lines are not read first."""
    pointer = builder.bitcast(pointer, vector.type.as_pointer())
    stored = builder.store(vector, pointer, align=REGISTER_BYTES)
    stored.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(INT32, 1)]))


@intrinsic
def rows_scaled(typingctx, x, out, start, stop, past_cache, shift, factor):
    """Write e^(x − shift) · factor of rows start to stop of x (n, d) to out, which may be x.

    By rounded differences (`exact=False` of `emit_exp`). Here and below, `shift` and `factor` are (d +
    lanes,) with their first `lanes` elements (those of a register) repeated at the end, and d ≥ lanes. With
    `past_cache` the result is written by non-temporal stores: out must be aligned to its itemsize.
    """

    def emit(builder, x, shift, factor):
        return builder.fmul(emit_exp(builder, x, shift, exact=False), factor)

    return _by_rows(emit)(typingctx, x, out, start, stop, past_cache, shift, factor)


@intrinsic
def rows_differences(typingctx, x, out, start, stop, past_cache, shift, rest):
    """Write (x − shift) − rest of rows start to stop of x (n, d) to out, which may be x."""

    def emit(builder, x, shift, rest):
        return builder.fsub(builder.fsub(x, shift), rest)

    return _by_rows(emit)(typingctx, x, out, start, stop, past_cache, shift, rest)


if numba.config.DISABLE_JIT:  # an intrinsic has no Python body: kernels run as plain Python need one

    def rows_scaled(x, out, start, stop, past_cache, shift, factor):  # noqa: D103
        n = x.shape[1]
        out[start:stop] = np.exp(x[start:stop] - shift[:n]) * factor[:n]

    def rows_differences(x, out, start, stop, past_cache, shift, rest):  # noqa: D103
        n = x.shape[1]
        out[start:stop] = (x[start:stop] - shift[:n]) - rest[:n]
