"""Rows of X as a tile: as they are where they can be read so, gathered and widened otherwise."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import overload

from fastsoftmax.kernels.jit import jit


def tile_of(X: Any, start: int, stop: int, room: Any) -> Any:
    """Return rows start to stop as a C-ordered array of the dtype of `room`.

    Rows that are so already are not copied; others are gathered and widened into `room`, so that X is never
    copied or widened as a whole.
    """
    return X[start:stop] if is_tile(X, room.dtype) else _gather(X, start, stop, room)


def is_tile(X: Any, dtype: Any) -> bool:
    """Whether rows of X need neither gathering nor widening."""
    return bool(X.dtype == dtype and X.flags.c_contiguous)


@jit
def _gather(X, start, stop, room):
    tile = room[: stop - start]
    for i in range(stop - start):
        for j in range(X.shape[1]):
            tile[i, j] = X[start + i, j]
    return tile


@jit
def _gather_columns_first(X, start, stop, room):
    # Column by column: of an F-ordered X, a tile's rows lie together within a column. Blocks of 16 columns
    # keep the lines that are written to in the first-level cache.
    tile = room[: stop - start]
    n_features = X.shape[1]
    for first in range(0, n_features, 16):
        last = min(first + 16, n_features)
        for i0 in range(0, stop - start, 64):
            i1 = min(i0 + 64, stop - start)
            for j in range(first, last):
                for i in range(i0, i1):
                    tile[i, j] = X[start + i, j]
    return tile


@overload(tile_of)
def _tile_of(X, start, stop, room):
    if isinstance(X, types.Array):
        if X.dtype == room.dtype and X.layout == "C":
            return lambda X, start, stop, room: X[start:stop]
        if X.layout == "F":
            return lambda X, start, stop, room: _gather_columns_first(X, start, stop, room)
        return lambda X, start, stop, room: _gather(X, start, stop, room)
    return None
