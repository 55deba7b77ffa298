"""AnnData in HDF5 (.h5ad) and in Zarr: X or a layer, dense or CSR, the label a column of obs."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.data.blocks import block, csr_cuts
from fastsoftmax.data.blocks.block import Block, Coded, Head
from fastsoftmax.data.blocks.hdf5_chunks import InflatedChunks, can_inflate
from fastsoftmax.data.readers.table import listed
from fastsoftmax.runtime.executor import available_threads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor

    from fastsoftmax.contracts import Array

# HDF5 decodes a chunk again for each block that touches it, unless a row of chunks stays in its cache, which
# is 8 MiB by default.
CHUNK_CACHE = 2**26

# Threads that inflate chunks, of each reading: two are 1.7 times as fast as one on two cores. What a first
# reading does with a block takes about as long as one thread takes to inflate it: more threads would wait.
MAX_INFLATING = 4


@dataclass(frozen=True)
class AnnDataBlocks:
    """The rows (cells) of an AnnData store.

    Parameters
    ----------
    path : str
        An .h5ad file, or a Zarr folder.
    target, weight : str, optional
        Columns of obs.
    layer : str, optional
        The name of a layer to take in place of X.
    """

    path: str
    target: str | None = None
    weight: str | None = None
    layer: str | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """The file or folder."""
        return (self.path,)

    def head(self) -> Head:
        """Return what the store's attributes say."""
        with self._opened() as store:
            X = self._matrix(store)
            is_sparse = _is_group(X)
            n_rows, n_features = self._shape(X)
            data = X["data"] if is_sparse else X
            dtype = np.dtype(data.dtype)
            if dtype.kind not in "biuf":
                raise ValueError(f"{self.path!r} holds {dtype}, not numbers")
            names = self._names(store)
            for name in (self.target, self.weight):
                if name is None:
                    continue
                length = self._column(store, name, 0, n_rows, head_only=True).shape[0]
                if length != n_rows:
                    raise ValueError(
                        f"{self.path!r}: column {name!r} of obs has {length} entries, X has {n_rows} rows"
                    )
            is_slow = _is_compressed(data)
        narrow = np.dtype(np.float32 if dtype in (np.float16, np.float32) else np.float64)
        return Head(
            n_rows,
            n_features,
            narrow if is_sparse else block.kernel_dtype(dtype),
            is_sparse=is_sparse,
            n_bytes=_size(self.path),
            names=names if names is not None and len(names) == n_features else None,
            has_labels=self.target is not None,
            is_slow=is_slow,
        )

    def column_names(self) -> list[str]:
        """Return the names of the columns of obs, without its index."""
        with self._opened() as store:
            obs = store.get("obs", None)
            if obs is None or not _is_group(obs):
                return []
            index = obs.attrs.get("_index", "_index")
            return sorted(name for name in obs if name not in (index, "__categories"))

    def blocks(self, block_bytes: int) -> Iterator[Block]:
        """Yield ranges of rows; of dense X, whole rows of chunks where these fit."""
        n_threads = min(MAX_INFLATING, available_threads())
        with self._opened() as store, ThreadPoolExecutor(n_threads, "fastsoftmax-inflating") as threads:
            X = self._matrix(store)
            read = self._sparse if _is_group(X) else self._dense
            for start, rows in read(X, block_bytes, threads):
                stop = start + rows.shape[0]
                y = None if self.target is None else self._column(store, self.target, start, stop)
                weight = None if self.weight is None else self._column(store, self.weight, start, stop)
                if isinstance(weight, Coded):
                    raise ValueError(
                        f"{self.path!r}: column {self.weight!r} of obs is categorical, no weights"
                    )
                yield Block(rows, y, weight, self.path, start)

    def _dense(self, X: Any, block_bytes: int, threads: Executor) -> Iterator[tuple[int, Any]]:
        n_rows, n_features = X.shape
        step = block.rows_a_block(n_features * np.dtype(X.dtype).itemsize, block_bytes)
        chunk = (getattr(X, "chunks", None) or (1,))[0]
        if step >= chunk:
            step -= step % chunk
            X = _inflated(X, threads)
        for start in range(0, n_rows, step):
            yield start, block.dense(np.asarray(X[start : min(start + step, n_rows)]))

    def _sparse(self, X: Any, block_bytes: int, threads: Executor) -> Iterator[tuple[int, Any]]:
        n_rows, n_features = self._shape(X)
        data, indices, indptr = (_inflated(X[name], threads) for name in ("data", "indices", "indptr"))
        entry_bytes = np.dtype(data.dtype).itemsize + (4 if n_features < 2**31 else 8)
        if indptr.shape[0] != n_rows + 1:
            raise ValueError(f"{self.path!r} is damaged: {indptr.shape[0]} row pointers for {n_rows} rows")

        def pointers(start: int, stop: int) -> Array:
            return np.asarray(indptr[start:stop])

        for cut in csr_cuts.cuts(pointers, n_rows, entry_bytes, block_bytes, self.path):
            part = slice(int(cut.indptr[0]), int(cut.indptr[-1]))
            if part.stop > data.shape[0] or part.stop > indices.shape[0]:
                raise ValueError(f"{self.path!r} is damaged: its row pointers go beyond its entries")
            yield (
                cut.start,
                block.sparse(
                    np.asarray(data[part]), np.asarray(indices[part]), cut.indptr, n_features, self.path
                ),
            )

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Any]:
        """Yield the root group, closed at the end; what a library says of a damaged file names the file."""
        is_hdf5 = Path(self.path).is_file()
        try:
            if is_hdf5:
                import h5py
            else:
                import zarr
        except ImportError as error:
            raise ImportError(
                f"reading {self.path!r} needs {error.name}: pip install {error.name}"
            ) from error
        try:
            root = (
                h5py.File(self.path, "r", rdcc_nbytes=CHUNK_CACHE)
                if is_hdf5
                else zarr.open_group(self.path, mode="r")
            )
        except Exception as error:  # of any kind, by the library
            raise ValueError(f"{self.path!r} is damaged or no AnnData: {error}") from error
        try:
            yield root
        except (KeyError, OSError) as error:
            raise ValueError(f"{self.path!r} is damaged or no AnnData: {error}") from error
        finally:
            if is_hdf5:
                root.close()

    def _matrix(self, store: Any) -> Any:
        """Return the dense array or the group of CSR parts that is asked for."""
        if self.layer is not None:
            layers = store.get("layers", {})
            if self.layer not in layers:
                held = listed(sorted(layers), 12) or "none"
                raise ValueError(f"{self.path!r} has no layer {self.layer!r}; it has {held}")
            X = layers[self.layer]
        elif "X" in store:
            X = store["X"]
        else:
            raise ValueError(f"{self.path!r} has no X")
        if _is_group(X):
            kind = X.attrs.get("encoding-type", X.attrs.get("h5sparse_format", "csr_matrix"))
            kind = kind.decode() if isinstance(kind, bytes) else str(kind)
            if not kind.startswith("csr"):
                raise ValueError(
                    f"{self.path!r}: X is stored as {kind}, which cannot be read by rows: write it with "
                    "adata.X = adata.X.tocsr()"
                )
        elif len(X.shape) != 2:
            raise ValueError(f"{self.path!r}: X has shape {tuple(X.shape)}, not (n, d)")
        return X

    def _shape(self, X: Any) -> tuple[int, int]:
        if not _is_group(X):
            return int(X.shape[0]), int(X.shape[1])
        shape = X.attrs["shape"] if "shape" in X.attrs else X.attrs["h5sparse_shape"]
        return int(shape[0]), int(shape[1])

    def _names(self, store: Any) -> tuple[str, ...] | None:
        """Return the names of the features, the index of var."""
        var = store.get("var", None)
        if var is None or not _is_group(var):
            return None
        index = var.attrs.get("_index", "_index")
        return tuple(map(str, _text(var[index][:]).tolist())) if index in var else None

    def _column(self, store: Any, name: str, start: int, stop: int, *, head_only: bool = False) -> Any:
        """Return rows of a column of obs, or with `head_only` the array that is as long as it."""
        obs = store["obs"]
        if name not in obs:
            raise ValueError(f"{self.path!r}: obs has no column {name!r}; it has {listed(sorted(obs), 12)}")
        column = obs[name]
        legacy = obs["__categories"][name] if "__categories" in obs and name in obs["__categories"] else None
        if _is_group(column) and "codes" in column:
            codes, categories = column["codes"], column["categories"]
            categories = categories["values"] if _is_group(categories) else categories
        elif _is_group(column) and "values" in column:  # nullable numbers
            if not head_only and "mask" in column and np.asarray(column["mask"][start:stop]).any():
                row = start + int(np.flatnonzero(np.asarray(column["mask"][start:stop]))[0])
                raise ValueError(f"{self.path!r}: column {name!r} of obs is empty in row {row + 1}")
            codes, categories = column["values"], None
        else:
            codes, categories = column, legacy
        if head_only:
            return codes
        values = np.asarray(codes[start:stop])
        if categories is None:
            return _text(values)
        missing = np.flatnonzero(values < 0)
        if len(missing):
            raise ValueError(
                f"{self.path!r}: column {name!r} of obs is empty in row {start + int(missing[0]) + 1}"
            )
        table = _text(np.asarray(categories[:]))
        if values.size and int(values.max()) >= len(table):
            raise ValueError(f"{self.path!r} is damaged: a code of {name!r} has no category")
        return Coded(values, table)


def _inflated(array: Any, threads: Executor) -> Any:
    """Return what gives an array's rows as slices: its chunks inflated by threads where that can be done."""
    return InflatedChunks(array, threads) if can_inflate(array) else array


def _is_group(node: Any) -> bool:
    return not hasattr(node, "dtype")


def _is_compressed(data: Any) -> bool:
    """Return whether an array has to be decoded: chunks with a filter."""
    if hasattr(data, "compressors"):  # Zarr
        return True
    return data.chunks is not None and data.compression is not None


def _text(values: Array) -> Array:
    """Return bytes and objects as text, other values as they are."""
    if values.dtype.kind == "S":
        return np.char.decode(values, "utf-8")
    if values.dtype.kind in "OT":
        return np.array([v.decode() if isinstance(v, bytes) else str(v) for v in values.tolist()])
    return values


def _size(path: str) -> int:
    if Path(path).is_file():
        return Path(path).stat().st_size
    return sum(each.stat().st_size for each in Path(path).rglob("*") if each.is_file())
