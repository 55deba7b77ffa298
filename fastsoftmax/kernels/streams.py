"""Element by element over whole rows of a C-ordered matrix, taken for one long row, with a vector per row.

A register may hold the end of a row and the beginning of the next. So every store is aligned, but for the
first and the last, whatever the length of the rows; only such stores may go past the caches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastsoftmax.kernels.lanes import INT32, INT64, REGISTER_BYTES, is_row, load, splat, store, vector_type
from fastsoftmax.kernels.vector import constant, emit_exp

if TYPE_CHECKING:
    from collections.abc import Callable


def _is_matrix(kind: Any, dtype: Any) -> bool:
    return isinstance(kind, types.Array) and kind.ndim == 2 and kind.layout == "C" and kind.dtype == dtype


def _by_rows(emit: Callable[..., Any]) -> Any:
    """Return the typing of f(x, out, start, stop, past_cache, *vectors): out = emit(builder, x, *vectors)."""

    def typed(typingctx, x, out, start, stop, past_cache, *vectors):
        if not all(is_row(v) and _is_matrix(x, v.dtype) and _is_matrix(out, v.dtype) for v in vectors):
            return None

        def codegen(context, builder, signature, arguments):
            kind = vector_type(x.dtype)
            lanes, none = ir.Constant(INT64, kind.count), ir.Constant(INT64, 0)
            source, target, *numbers = (
                context.make_array(k)(context, builder, a)
                for k, a in zip((x, out, *vectors), (*arguments[:2], *arguments[5:]))
            )
            begin, end = (context.cast(builder, arguments[i], signature.args[i], types.int64) for i in (2, 3))
            width = builder.extract_value(source.shape, 1)
            size = builder.mul(builder.sub(end, begin), width)
            data, result = (builder.gep(a.data, [builder.mul(begin, width)]) for a in (source, target))
            column = cgutils.alloca_once_value(builder, none)

            def body(offset, number, past_cache=False):
                """Work on a register, or, if a number is given, on so many of its lanes."""
                c, mask, step = builder.load(column), None, lanes
                if number is not None:
                    lane = ir.Constant(ir.VectorType(INT32, kind.count), list(range(kind.count)))
                    step = number
                    mask = builder.icmp_signed(
                        "<", lane, splat(builder, builder.trunc(number, INT32), kind.count)
                    )
                value = load(builder, builder.gep(data, [offset]), kind, mask, constant(kind, 0.0))
                value = emit(
                    builder, value, *(load(builder, builder.gep(v.data, [c]), kind) for v in numbers)
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
            body(none, head)
            whole = builder.sdiv(builder.sub(size, head), lanes)
            with builder.if_else(arguments[4]) as branches:
                for branch, past in zip(branches, (True, False)):
                    with branch, cgutils.for_range(builder, whole) as loop:
                        body(builder.add(head, builder.mul(loop.index, lanes)), None, past)
            done = builder.add(head, builder.mul(whole, lanes))
            body(done, builder.sub(size, done))
            builder.fence(
                "seq_cst"
            )  # stores past the caches are not in order with what tells that they are done
            return context.get_dummy_value()

        return types.void(x, out, start, stop, past_cache, *vectors), codegen

    return typed


def _store_past_cache(builder: Any, vector: Any, pointer: Any) -> None:
    """Store a vector at an aligned address without reading its lines into cache first."""
    pointer = builder.bitcast(pointer, vector.type.as_pointer())
    stored = builder.store(vector, pointer, align=REGISTER_BYTES)
    stored.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(INT32, 1)]))


@intrinsic
def rows_shares(typingctx, x, out, start, stop, past_cache, shift, factor):
    """Write e^(x − shift) · factor of the rows start to stop to out, which may be x; by plain exponentials.

    Here and below, the vectors have a register's lanes more than x has columns, and begin again in them. x
    has as many columns at least. With `past_cache` the result goes straight to memory: out's elements must
    lie at multiples of their size.
    """

    def emit(builder, x, shift, factor):
        return builder.fmul(emit_exp(builder, x, shift, exact=False), factor)

    return _by_rows(emit)(typingctx, x, out, start, stop, past_cache, shift, factor)


@intrinsic
def rows_differences(typingctx, x, out, start, stop, past_cache, shift, rest):
    """Write (x − shift) − rest of the rows start to stop to out, which may be x."""

    def emit(builder, x, shift, rest):
        return builder.fsub(builder.fsub(x, shift), rest)

    return _by_rows(emit)(typingctx, x, out, start, stop, past_cache, shift, rest)


if numba.config.DISABLE_JIT:  # an intrinsic has no Python body: kernels run as plain Python need one

    def rows_shares(x, out, start, stop, past_cache, shift, factor):  # noqa: D103
        n = x.shape[1]
        out[start:stop] = np.exp(x[start:stop] - shift[:n]) * factor[:n]

    def rows_differences(x, out, start, stop, past_cache, shift, rest):  # noqa: D103
        n = x.shape[1]
        out[start:stop] = (x[start:stop] - shift[:n]) - rest[:n]
