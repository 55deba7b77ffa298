"""Named NumPy arrays: the parts of a CSR matrix, or dense X, with labels beside them in the archive."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.data import sparse
from fastsoftmax.data.blocks import arrays, block, csr_cuts
from fastsoftmax.data.blocks.block import Block, Head
from fastsoftmax.data.readers.npz import labels_of, tf_idf
from fastsoftmax.data.readers.table import listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastsoftmax.contracts import Array, DType, HostRows
    from fastsoftmax.data.blocks.arrays import Members


@dataclass(frozen=True)
class NpzBlocks:
    """The rows of an .npz file: those of `scipy.sparse.save_npz`, or X and y, or the training part of both.

    Parameters
    ----------
    path : str
    target, weight : str, optional
        The names of arrays; by default "y" or "y_train" where there is one, and no weights.
    """

    path: str
    target: str | None = None
    weight: str | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """The archive."""
        return (self.path,)

    def head(self) -> Head:
        """Return what the archive's directory and the arrays' headers say."""
        with arrays.members(self.path) as members:
            prefix, is_sparse = self._layout(members)
            parts = [f"{prefix}data", f"{prefix}indices"] if is_sparse else [prefix]
            shape, dtype = self._shape(members, prefix, is_sparse), members.head(parts[0]).dtype
            if dtype.kind not in "biuf":
                raise ValueError(f"{self.path!r} holds {dtype}, not numbers")
            label = self._label(members)
            for name in (label, self.weight):
                if name is not None and members.head(name).shape[0] != shape[0]:
                    held = members.head(name).shape[0]
                    raise ValueError(f"{self.path!r} has {shape[0]} rows, but {held} entries in {name!r}")
            names = members.whole("feature_names") if "feature_names" in members.names else None
            has_idf = is_sparse and "idf" in members.names
            is_slow = has_idf or not all(members.is_stored(name) for name in parts)
        is_text = names is not None and names.dtype.kind in "US"
        return Head(
            *shape,
            self._dtype(dtype, is_sparse, has_idf),
            is_sparse=is_sparse,
            n_bytes=Path(self.path).stat().st_size,
            names=tuple(map(str, names.tolist())) if names is not None and is_text else None,
            has_labels=label is not None,
            is_slow=is_slow,
        )

    def blocks(self, block_bytes: int) -> Iterator[Block]:
        """Yield ranges of rows: mapped where the arrays are stored, decompressed in order where not."""
        with arrays.members(self.path) as members:
            prefix, is_sparse = self._layout(members)
            uses = {"target": self._label(members), "weight": self.weight}
            beside = {use: members.array(name) for use, name in uses.items() if name is not None}
            read = self._sparse if is_sparse else self._dense
            for start, X in read(members, prefix, block_bytes):
                found = {use: array.rows(start, start + X.shape[0]) for use, array in beside.items()}
                yield Block(X, labels_of(found.get("target")), found.get("weight"), self.path, start)

    def _layout(self, members: Members) -> tuple[str, bool]:
        """Return the name of dense X and False, or the prefix of the parts of a CSR matrix and True."""
        for name in ("X", "X_train"):
            if name in members.names:
                return name, False
        for prefix in ("", "train_"):
            if {f"{prefix}{part}" for part in ("data", "indices", "indptr", "shape")} <= members.names:
                return prefix, True
        raise ValueError(
            f"{self.path!r} holds {listed(sorted(members.names), 12) or 'nothing'}; X and y, X_train and "
            "y_train or the parts of a CSR matrix are read"
        )

    def _label(self, members: Members) -> str | None:
        if self.target is not None and self.target not in members.names:
            held = listed(sorted(members.names), 12)
            raise ValueError(f"{self.path!r} has no labels {self.target!r}; it holds {held}")
        usual = next((name for name in ("y", "y_train") if name in members.names), None)
        return self.target or usual

    def _shape(self, members: Members, prefix: str, is_sparse: bool) -> tuple[int, int]:
        """Return (n, d), after checks of what can be checked without reading the rows."""
        if not is_sparse:
            shape = members.head(prefix).shape
            if len(shape) != 2:
                raise ValueError(f"{self.path!r}: {prefix} has shape {shape}, not (n, d)")
            return shape[0], shape[1]
        if not prefix and "format" in members.names:
            stated = members.whole("format").item()
            form = stated.decode() if isinstance(stated, bytes) else str(stated)
            if form != "csr":
                raise ValueError(
                    f"{self.path!r} is a sparse matrix in {form!r} format, which cannot be read by rows: "
                    "save it with scipy.sparse.save_npz(path, X.tocsr())"
                )
        n_rows, n_features = (int(each) for each in members.whole(f"{prefix}shape").tolist())
        n_pointers = members.head(f"{prefix}indptr").shape[0]
        if n_pointers != n_rows + 1:
            raise ValueError(f"{self.path!r} is damaged: it has {n_pointers} row pointers for {n_rows} rows")
        return n_rows, n_features

    def _dtype(self, dtype: DType, is_sparse: bool, has_idf: bool) -> DType:
        if not is_sparse:
            return block.kernel_dtype(dtype)
        return np.dtype(np.float32 if has_idf or dtype in (np.float16, np.float32) else np.float64)

    def _dense(self, members: Members, name: str, block_bytes: int) -> Iterator[tuple[int, HostRows]]:
        """Yield first rows and dense rows."""
        X = members.array(name)
        step = block.rows_a_block(X.head.row_bytes, block_bytes)
        for start in range(0, X.head.shape[0], step):
            yield start, block.dense(X.rows(start, min(start + step, X.head.shape[0])))

    def _sparse(self, members: Members, prefix: str, block_bytes: int) -> Iterator[tuple[int, HostRows]]:
        """Yield first rows and sparse rows, with the idf of the archive applied."""
        n_rows, n_features = self._shape(members, prefix, True)
        data, indices, indptr = (members.array(f"{prefix}{part}") for part in ("data", "indices", "indptr"))
        idf: Array | None = members.whole("idf") if "idf" in members.names else None
        entry_bytes = data.head.row_bytes + min(indices.head.row_bytes, 4 if n_features < 2**31 else 8)
        for cut in csr_cuts.cuts(indptr.rows, n_rows, entry_bytes, block_bytes, self.path):
            first, last = int(cut.indptr[0]), int(cut.indptr[-1])
            if last > min(data.head.shape[0], indices.head.shape[0]) or first < 0:
                raise ValueError(f"{self.path!r} is damaged: its row pointers go beyond its entries")
            X = block.sparse(
                data.rows(first, last), indices.rows(first, last), cut.indptr, n_features, self.path
            )
            if idf is not None:
                X = sparse.from_scipy(tf_idf(self.path, sparse.to_scipy(X), idf))
            yield cut.start, X
