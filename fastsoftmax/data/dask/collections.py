"""Dask's collections, and lists of delayed objects or futures, as blocks of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts.wording import shown

if TYPE_CHECKING:
    from collections.abc import Sequence


def blocks_of(X: Any, y: Any, sample_weight: Any) -> list[tuple[Any, Any, Any]]:
    """Return (X, y, weight) of each block: delayed objects, futures or arrays; None where there is none.

    Raises
    ------
    ValueError
        X is no matrix, or y or the weights have other blocks.
    TypeError
        They are of no kind that has blocks.
    """
    parts, lengths = _parts("X", X, None)
    if not parts:
        raise ValueError("X has no blocks")
    beside = []
    for name, given in (("y", y), ("sample_weight", sample_weight)):
        pieces: Sequence[Any] = [None] * len(parts)
        if given is not None:
            pieces, _ = _parts(name, given, lengths)
        if len(pieces) != len(parts):
            raise ValueError(f"{name} has {len(pieces)} blocks, and X has {len(parts)}")
        beside.append(pieces)
    return list(zip(parts, *beside))


def names_of(X: Any) -> tuple[str, ...] | None:
    """Return the names of the features of a frame, if all of them are text."""
    columns = getattr(X, "columns", None)
    if columns is None or not all(isinstance(name, str) for name in columns):
        return None
    return tuple(columns)


def is_array(X: Any) -> bool:
    """Whether X is a dask.array."""
    return hasattr(X, "chunks") and hasattr(X, "to_delayed")


def is_frame(X: Any) -> bool:
    """Whether X is a dask.dataframe or one of its series."""
    return hasattr(X, "npartitions") and hasattr(X, "to_delayed") and not is_array(X)


def _parts(name: str, X: Any, lengths: tuple[int, ...] | None) -> tuple[list[Any], tuple[int, ...] | None]:
    """Return the blocks, and the numbers of their rows where Dask knows them; cut like `lengths`."""
    if isinstance(X, list | tuple) and _is_lazy(X[0] if len(X) else None):
        return list(X), None
    if is_array(X):
        return _parts_of_array(name, X, lengths)
    if is_frame(X):
        return list(X.to_delayed()), None
    if name == "X" or _is_lazy(X):
        raise TypeError(
            f"{name} must be a dask.array, a dask.dataframe, or a list of delayed objects or futures of "
            f"blocks; got {shown(X)}"
        )
    values = np.asarray(X)
    if lengths is None:
        raise ValueError(f"{name} is an array, and the lengths of X's blocks are not known: give its blocks")
    if values.ndim == 0 or len(values) != sum(lengths):
        raise ValueError(f"{name} has shape {values.shape}, and X has {sum(lengths)} rows")
    return np.split(values, np.cumsum(lengths)[:-1]), None


def _parts_of_array(
    name: str, X: Any, lengths: tuple[int, ...] | None
) -> tuple[list[Any], tuple[int, ...] | None]:
    if X.ndim != 2 and (name == "X" or X.ndim != 1):
        raise ValueError(f"{name} must be {'a matrix (n, d)' if name == 'X' else '(n,)'}; got {X.ndim} axes")
    if X.ndim == 2 and X.numblocks[1] > 1:
        X = X.rechunk({1: -1})
    known: tuple[int, ...] | None = X.chunks[0]
    if any(length != length for length in X.chunks[0]):  # NaN: not known before they are computed
        known = None
    if lengths is not None and known is not None and known != lengths:
        if sum(known) != sum(lengths):
            raise ValueError(f"{name} has {sum(known)} rows, and X has {sum(lengths)}")
        X = X.rechunk({0: lengths})
    return list(X.to_delayed().ravel()), known


def _is_lazy(thing: Any) -> bool:
    """Whether a thing is a delayed object or a future."""
    return hasattr(thing, "dask") or (hasattr(thing, "key") and hasattr(thing, "client"))
