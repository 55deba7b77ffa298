"""Loads and stores of 16 bytes, and of single 16-bit numbers, as LLVM instructions.

Only these: everything else is Python that the simulator can run, too (`packs` has equivalents of these).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from fastsoftmax.kernels.cuda.runtime import intrinsic

WORD = ir.IntType(32)
SHORT = ir.IntType(16)
SINGLE = ir.FloatType()
PACK_BYTES = 16


def _constant(kind: Any, value: int) -> Any:
    return ir.Constant(kind, value)


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any, kind: Any) -> Any:
    """Return the address of an element as a pointer to LLVM type `kind`."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), kind.as_pointer())


def _is_bf16(dtype: Any) -> bool:
    return dtype == types.uint16


def _widened(builder: Any, short: Any, dtype: Any) -> Any:
    """Return the float32 value of a float16 or bf16 bit pattern."""
    if _is_bf16(dtype):
        word = builder.shl(builder.zext(short, WORD), _constant(WORD, 16))
        return builder.bitcast(word, SINGLE)
    return builder.fpext(builder.bitcast(short, ir.HalfType()), SINGLE)


def _narrowed(builder: Any, low: Any, high: Any, dtype: Any) -> Any:
    """Return one 32-bit word with two float32 rounded to 16 bits each."""
    if _is_bf16(dtype):
        kind = ir.FunctionType(WORD, [SINGLE, SINGLE])
        convert = ir.InlineAsm(kind, "cvt.rn.bf16x2.f32 $0, $1, $2;", "=r,f,f")
        return builder.call(convert, [high, low])
    halves = [builder.bitcast(builder.fptrunc(value, ir.HalfType()), SHORT) for value in (low, high)]
    words = [builder.zext(half, WORD) for half in halves]
    return builder.or_(words[0], builder.shl(words[1], _constant(WORD, 16)))


def _real(dtype: Any) -> Any:
    return types.float32 if dtype.bitwidth == 16 else dtype


def _places(
    context: Any, builder: Any, workspace_type: Any, workspace: Any, at: Any, count: int
) -> list[Any]:
    data = context.make_array(workspace_type)(context, builder, workspace).data
    return [builder.gep(data, [builder.add(at, _constant(at.type, j))]) for j in range(count)]


def _vector_of(dtype: Any) -> Any:
    """Return the LLVM type of a pack in memory; 16-bit numbers are in words of two."""
    if dtype.bitwidth == 16:
        return ir.VectorType(WORD, 4)
    single = dtype.bitwidth == 32
    return ir.VectorType(SINGLE if single else ir.DoubleType(), 4 if single else 2)


@intrinsic
def read(typingctx, x, i):
    """Return element i of x, widened to float32 if it has 16 bits."""
    dtype = x.dtype

    def codegen(context, builder, signature, args):
        if dtype.bitwidth != 16:
            kind = _vector_of(dtype).element
            return builder.load(_address(context, builder, x, args[0], args[1], kind))
        return _widened(builder, builder.load(_address(context, builder, x, args[0], args[1], SHORT)), dtype)

    return _real(dtype)(x, types.int64), codegen


@intrinsic
def write(typingctx, x, i, value):
    """Write a number to element i of x, rounded if x has 16-bit elements."""
    dtype = x.dtype

    def codegen(context, builder, signature, args):
        value = args[2]
        if dtype.bitwidth == 16:
            value = builder.trunc(_narrowed(builder, value, value, dtype), SHORT)
        builder.store(value, _address(context, builder, x, args[0], args[1], value.type))
        return context.get_dummy_value()

    return types.void(x, types.int64, _real(dtype)), codegen


@intrinsic
def read_pack(typingctx, x, i, workspace, at):
    """Load the pack at element i of x, at a 16-byte boundary, into workspace[at:]."""
    dtype = x.dtype

    def codegen(context, builder, signature, args):
        vector = _vector_of(dtype)
        address = _address(context, builder, x, args[0], args[1], vector)
        loaded = builder.load(address, align=PACK_BYTES)
        parts = [builder.extract_element(loaded, _constant(WORD, j)) for j in range(vector.count)]
        if dtype.bitwidth == 16:
            halves = []
            for word in parts:
                halves.append(builder.trunc(word, SHORT))
                halves.append(builder.trunc(builder.lshr(word, _constant(WORD, 16)), SHORT))
            parts = [_widened(builder, half, dtype) for half in halves]
        for part, place in zip(parts, _places(context, builder, workspace, args[2], args[3], len(parts))):
            builder.store(part, place)
        return context.get_dummy_value()

    return types.void(x, types.int64, workspace, types.int64), codegen


@intrinsic
def write_pack(typingctx, x, i, workspace, at):
    """Store the pack workspace[at:] at element i of x, at a 16-byte boundary."""
    dtype = x.dtype

    def codegen(context, builder, signature, args):
        vector = _vector_of(dtype)
        count = 8 * PACK_BYTES // dtype.bitwidth
        places = _places(context, builder, workspace, args[2], args[3], count)
        parts = [builder.load(place) for place in places]
        if dtype.bitwidth == 16:
            pairs = zip(parts[::2], parts[1::2])
            parts = [_narrowed(builder, low, high, dtype) for low, high in pairs]
        pack = ir.Constant(vector, ir.Undefined)
        for j, part in enumerate(parts):
            pack = builder.insert_element(pack, part, _constant(WORD, j))
        address = _address(context, builder, x, args[0], args[1], vector)
        builder.store(pack, address, align=PACK_BYTES)
        return context.get_dummy_value()

    return types.void(x, types.int64, workspace, types.int64), codegen
