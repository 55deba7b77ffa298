"""Rows on Dask's workers: recognised without an import of Dask, and taken as a `RowSet`.

`collections` takes Dask's arrays, frames and lists of blocks apart, `tasks` are the functions that run where
the blocks are, `engine` has them run there (by the workers of a client, or by threads), and `supply` is what
a `RowSet` reads from. Dask is imported when there is an object of it, or when `on_workers` is called.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from fastsoftmax.contracts.wording import shown
from fastsoftmax.data.blocks.chain import Chain
from fastsoftmax.data.blocks.row_set import RowSet
from fastsoftmax.runtime import lazy_imports

if TYPE_CHECKING:
    from types import ModuleType

LIBRARIES = ("dask", "distributed", "dask_expr")


def is_dask(X: Any) -> bool:
    """Return whether X is a collection, a delayed object or a future of Dask, or a list that begins with one.

    Dask is not imported.

    Examples
    --------
    >>> is_dask([1.0, 2.0])
    False
    """
    if "dask" not in sys.modules:  # of a library that nobody has imported, nobody has an object
        return False
    first = X[0] if type(X) in (list, tuple) and len(X) else X
    return any(kind.__module__.partition(".")[0] in LIBRARIES for kind in type(first).__mro__)


def taken(X: Any, y: Any = None, sample_weight: Any = None) -> tuple[Any, Any, Any]:
    """Return rows, labels and weights as they are; those of Dask as a `RowSet` that has all, None, None."""
    if not is_dask(X):
        return X, y, sample_weight
    return on_workers(X, y, sample_weight), None, None


def on_workers(
    X: Any, y: Any = None, sample_weight: Any = None, *, memory: int | str | None = None
) -> RowSet:
    """Return rows whose sums are made by the workers of the current Dask client; without one, by threads.

    Parameters
    ----------
    X : dask.array, dask.dataframe, list of delayed objects or futures, or RowSet of `open_rows`
        An array has blocks (n, d), dense or SciPy's CSR; of a frame all columns are features; in a list each
        item is a block of what `SoftmaxRegression.fit` takes. Files of `open_rows` are read by the workers,
        each file by one task in every reading; all workers must see them.
    y, sample_weight : dask.array, dask.dataframe or Series, list, or array_like, optional
        In as many blocks as X. Those of `open_rows` are part of its rows.
    memory : int or str, optional
        As for `open_rows`: an eighth of it is the most that the sample takes on the client, and the rows that
        a task chooses in some readings. By default 1 GiB, or that of the rows.

    Returns
    -------
    rows : RowSet

    Raises
    ------
    ImportError
        Dask is not installed.
    ValueError
        The blocks do not fit together.

    Notes
    -----
    `SoftmaxRegression.fit` takes collections as they are; this is for files, and for another `memory`.

    Examples
    --------
    >>> from fastsoftmax import SoftmaxRegression, on_workers
    >>> X = dask.array.random.normal(size=(1000, 5), chunks=(250, 5))  # doctest: +SKIP
    >>> model = SoftmaxRegression().fit(on_workers(X, X[:, 0] > 0, memory="4G"))  # doctest: +SKIP
    """
    try:
        parts: ModuleType = lazy_imports.module("fastsoftmax.data.dask.supply")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("fastsoftmax"):
            raise
        raise ImportError(
            f"on_workers needs {error.name}, which is not installed: pip install 'fastsoftmax[dask]'"
        ) from error
    if isinstance(X, RowSet):
        if y is not None or sample_weight is not None:
            raise ValueError("y and sample_weight are part of the rows: give them to open_rows")
        if not isinstance(X.supply, Chain):
            raise TypeError("rows that workers read are those of open_rows; give Dask the blocks of others")
        limit = X.memory if memory is None else memory
        return RowSet(parts.FilesThere(X.supply), memory=limit, cache=False)
    if not is_dask(X):
        raise TypeError(f"X must be of Dask (array, frame, list of delayed) or of open_rows; got {shown(X)}")
    return RowSet(parts.BlocksThere(X, y, sample_weight), memory=memory, cache=False)
