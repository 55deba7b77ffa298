"""The two ways to rows that do not fit in memory: files, and blocks that a function makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastsoftmax.contracts.wording import shown
from fastsoftmax.data.blocks import formats
from fastsoftmax.data.blocks.made import Made
from fastsoftmax.data.blocks.row_set import RowSet

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import ArrayLike


def open_rows(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    target: str | int | os.PathLike[str] | ArrayLike | None = None,
    features: Sequence[str | int] | None = None,
    sample_weight: str | int | os.PathLike[str] | ArrayLike | None = None,
    layer: str | None = None,
    format: str | None = None,  # noqa: A002  (the name is part of the public interface)
    cache: str | os.PathLike[str] | bool | None = None,
    memory: int | str | None = None,
    zero_based: bool | None = None,
) -> RowSet:
    """Return the rows in files, for fits and predictions that never hold all of them.

    Parameters
    ----------
    paths : str, path-like, or list of these
        A file, a folder, a pattern such as "part-*.parquet", or a list. Files: .npy, .npz (X and y, or the
        parts of a CSR matrix), .parquet, .arrow and .feather, .csv and .tsv (.gz, .zst), .svm and .libsvm
        (.gz), .h5ad, .zarr. Several are one set of rows, in the order of their names or of the list.
    target : str, int, path-like or array_like, optional
        Where the labels are: a column by name or index; in an .npz an array (by default y); in AnnData a
        column of obs; for .npy one or more .npy files (by default y_000.npy beside X_000.npy); or the labels
        of all rows themselves.
    features : sequence of str or int, optional
        The columns that are features, in this order; by default all but labels and weights. A column of lists
        (embeddings) counts as many as its lists are long.
    sample_weight : str, int, path-like or array_like, optional
        Where the weights of the rows are, as `target`.
    layer : str, optional
        The layer of AnnData to take in place of X.
    format : str, optional
        "npy", "npz", "parquet", "arrow", "csv", "svm", "h5ad" or "zarr", in place of the suffix.
    cache : path-like or bool, optional
        The folder for decoded blocks of formats that are slow to decode. None takes a temporary one, deleted
        with the object; False decodes the files in every reading.
    memory : int or str, optional
        What a fit holds besides its parameters: bytes, or a text such as "500M" or "2G". 1 GiB by default.
        Dense rows that take up to two thirds of it, and sparse ones up to a sixth, are kept as arrays.
    zero_based : bool, optional
        Whether the indices of an svmlight file start at 0; by default they start at 1 unless there is a 0.

    Returns
    -------
    rows : RowSet

    Raises
    ------
    FileNotFoundError
        A path stands for no file.
    ValueError
        A file is damaged or truncated, or the files do not fit together; the message names the file.
    ImportError
        The library that decodes the format is not installed.

    Notes
    -----
    Opening reads the headers only. The first use that needs more (`classes`, a fit) reads the files once.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from fastsoftmax import SoftmaxRegression, open_rows
    >>> folder = tempfile.mkdtemp()
    >>> np.save(os.path.join(folder, "X.npy"), np.array([[0.0], [1.0], [2.0], [3.0]]))
    >>> np.save(os.path.join(folder, "y.npy"), np.array(["a", "a", "b", "b"]))
    >>> with open_rows(os.path.join(folder, "X.npy")) as rows:
    ...     model = SoftmaxRegression().fit(rows)
    >>> rows.n_rows, model.predict([[0.5], [2.5]]).tolist()
    (4, ['a', 'b'])
    """
    chosen = () if features is None else (features,) if isinstance(features, str) else tuple(features)
    wanted = formats.Wanted(target, chosen, sample_weight, layer, zero_based)
    return RowSet(formats.opened(paths, format, wanted), memory=memory, cache=cache)


def rows_from(
    make: Callable[[], Iterator[Any]], *, n_features: int | None = None, memory: int | str | None = None
) -> RowSet:
    """Return the rows that a function makes, block by block, again and again.

    Parameters
    ----------
    make : callable
        () ↦ an iterator of (X, y) or (X, y, sample_weight); at each call the same blocks in the same order. X
        is what `SoftmaxRegression.fit` takes, of one dtype in all blocks; (X,) is enough for predictions.
    n_features : int, optional
        By default that of the first block.
    memory : int or str, optional
        As for `open_rows`; a block is as large as it comes.

    Returns
    -------
    rows : RowSet

    Raises
    ------
    ValueError
        The first block is not valid.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsoftmax import SoftmaxRegression, rows_from
    >>> def make():
    ...     for seed in range(3):
    ...         X = np.random.default_rng(seed).normal(size=(100, 2))
    ...         yield X, X[:, 0] > X[:, 1]
    >>> model = SoftmaxRegression().fit(rows_from(make))
    >>> model.predict([[1.0, -1.0], [-1.0, 1.0]])
    array([ True, False])
    """
    if not callable(make):
        raise TypeError(
            f"make must be callable: () -> iterator of (X, y[, sample_weight]); got {shown(make)}"
        )
    return RowSet(Made(make, n_features), memory=memory, cache=False)
