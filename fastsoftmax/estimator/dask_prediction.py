"""Predictions for Dask's collections: lazy ones of the same blocks.

Dask is imported: the rows are its own.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.data.dask import collections

if TYPE_CHECKING:
    from collections.abc import Callable


def lazy(method: Callable[..., Any], model: Any, X: Any, arguments: tuple[Any, ...]) -> Any:
    """Return what a method of a fitted model gives for the blocks of X, as a dask.array, or a tuple of them.

    Parameters
    ----------
    method : callable
        (model, X (n, d), *arguments) ↦ an array with n rows, or a tuple of arrays.
    model : SoftmaxRegression
    X : dask.array, dask.dataframe, or list of delayed objects or futures

    Raises
    ------
    ValueError
        X has another number of features than the model, or other names.
    """
    import dask
    import dask.array as da

    plain = copy.copy(model)
    plain.n_threads = plain.n_threads or 1  # the cores of a task: workers run as many as they have threads
    kinds = method(plain, _one_row(model, X), *arguments)
    several = isinstance(kinds, tuple)
    there = dask.delayed(plain, pure=False)
    blocks, lengths = [part[0] for part in collections.blocks_of(X, None, None)], _lengths(X)
    task = dask.delayed(_predicted, pure=False, nout=len(kinds) if several else None)
    results = [
        task(
            method,
            there,
            block,
            arguments,
            dask_key_name=f"{_name(method)}-{i}-{dask.base.tokenize(there.key)}",
        )
        for i, block in enumerate(blocks)
    ]

    def collection(kind: Any, pieces: list[Any]) -> Any:
        trail = kind.shape[1:]
        arrays = [
            da.from_delayed(piece, (n, *trail), meta=np.empty((0, *trail), kind.dtype))
            for piece, n in zip(pieces, lengths or [math.nan] * len(pieces))
        ]
        return da.concatenate(arrays, allow_unknown_chunksizes=True)

    if not several:
        return collection(kinds, results)
    return tuple(collection(kind, [result[i] for result in results]) for i, kind in enumerate(kinds))


def _predicted(method: Callable[..., Any], model: Any, X: Any, arguments: tuple[Any, ...]) -> Any:
    """Return the predictions for a block; one without rows has none."""
    if X.shape[0]:
        return method(model, X, *arguments)
    none = method(model, np.zeros((1, model.n_features_in_)), *arguments)
    return tuple(each[:0] for each in none) if isinstance(none, tuple) else none[:0]


def _one_row(model: Any, X: Any) -> Any:
    """Return a row of zeros of X's kind, whose predictions tell the dtype and the shape of all."""
    if collections.is_frame(X):
        import pandas as pd

        meta = X._meta
        return pd.DataFrame({name: np.zeros(1, _dtype(meta[name])) for name in X.columns}, columns=X.columns)
    width = X.shape[1] if collections.is_array(X) and X.ndim == 2 else model.n_features_in_
    dtype = _dtype(X) if collections.is_array(X) else np.dtype(np.float64)
    return np.zeros((1, int(width)), dtype)


def _dtype(of: Any) -> Any:
    kind = getattr(of.dtype, "numpy_dtype", of.dtype)  # of a pandas dtype with missing values
    return kind if isinstance(kind, np.dtype) and kind.kind in "fiub" else np.dtype(np.float64)


def _lengths(X: Any) -> list[float] | None:
    return list(X.chunks[0]) if collections.is_array(X) else None


def _name(method: Any) -> str:
    """Return a method's name for a dashboard: predict_proba is predict-proba."""
    name: str = getattr(method, "func", method).__name__
    return name.replace("_", "-")
