"""Blocks that are kept in memory as one matrix, so that their rows are held once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Csr, Halves

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastsoftmax.contracts import Array, HostRows
    from fastsoftmax.data.blocks.block import Block


def joined_in_place(blocks: list[Block]) -> HostRows:
    """Return the rows of blocks as one matrix, of which they then are views.

    Each block's own rows can go as soon as they are copied: the matrix and a block are what it takes. Blocks
    that have been joined before are not copied again.
    """
    if len(blocks) == 1:
        return blocks[0].X
    return _sparse(blocks) if isinstance(blocks[0].X, Csr) else _dense(blocks)


def _dense(blocks: list[Block]) -> HostRows:
    halves = isinstance(blocks[0].X, Halves)
    arrays: list[Any] = [each.X.bits if isinstance(each.X, Halves) else each.X for each in blocks]
    out = _whole_of(arrays)
    if out is None:
        n_rows = sum(map(len, arrays))
        out = np.empty((n_rows, arrays[0].shape[1]), np.result_type(*[each.dtype for each in arrays]))
        del arrays
        start = 0
        for i in range(len(blocks)):
            rows: Any = blocks[i].X
            part = out[start : start + rows.shape[0]]
            part[:] = rows.bits if isinstance(rows, Halves) else rows
            blocks[i] = blocks[i]._replace(X=Halves(part) if isinstance(rows, Halves) else part)
            del rows
            start += len(part)
    return Halves(out) if halves else out


def _sparse(blocks: list[Block]) -> HostRows:
    """Join the entries, and their columns; row pointers are made anew, and each block keeps its own."""
    parts: list[Any] = [each.X for each in blocks]
    n_entries = [len(part.data) for part in parts]
    data = _whole_of([part.data for part in parts])
    indices = _whole_of([part.indices for part in parts])
    if data is None or indices is None:
        wide = any(part.indices.dtype == np.int64 for part in parts) or sum(n_entries) >= 2**31
        data = np.empty(sum(n_entries), np.result_type(*[part.data.dtype for part in parts]))
        indices = np.empty(len(data), np.int64 if wide else np.int32)
        del parts
        start = 0
        for i, n in enumerate(n_entries):
            rows: Any = blocks[i].X
            here = slice(start, start + n)
            data[here], indices[here] = rows.data, rows.indices
            indptr = rows.indptr.astype(indices.dtype, copy=False)
            blocks[i] = blocks[i]._replace(X=Csr(data[here], indices[here], indptr, rows.shape))
            del rows
            start += n
        parts = [each.X for each in blocks]
    starts = np.cumsum([0, *n_entries])
    pointers = [part.indptr[:-1] + start for part, start in zip(parts, starts, strict=False)]
    indptr = np.concatenate([*pointers, starts[-1:]]).astype(indices.dtype, copy=False)
    shape = sum(part.shape[0] for part in parts), max(part.shape[1] for part in parts)
    return Csr(data, indices, indptr, shape)


def _whole_of(parts: Sequence[Array]) -> Array | None:
    """Return the array that parts are views of, all of it, one after another and in its order; None if not.

    A caller's own batches may be views of one matrix too: of its rows in another order, or backwards.
    """
    whole = parts[0].base
    if not isinstance(whole, np.ndarray) or len(whole) != sum(map(len, parts)):
        return None
    start = 0
    for part in parts:
        of_whole = whole[start : start + len(part)]
        if part.base is not whole or part.__array_interface__ != of_whole.__array_interface__:
            return None
        start += len(part)
    return whole
