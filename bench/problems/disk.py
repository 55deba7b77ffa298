"""Rows on disk: drawn shard by shard, once, into a folder that later runs find again.

Nothing here holds more than a shard. Every shard has a seed of its own, so that the first ones of a longer
set are those of a shorter one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import scipy.sparse as sp

from bench.problems.descriptions import SEED
from bench.problems.drawn import SIGNAL, labels

if TYPE_CHECKING:
    from collections.abc import Iterator

N_FACTORS, FACTOR = 20, 0.5  # correlated columns: X = Z + FACTOR · G A, with G (n, N_FACTORS)
N_FIELDS, MAX_VALUES = (
    39,
    10**6,
)  # categorical fields, as in logs of advertisements, and the most values of one
HASHED_SIGNAL, HASHED_OFFSET = 0.25, -1.2
PRIMES = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F


@dataclass(frozen=True)
class OnDisk:
    """Rows in files of `shard_rows` rows each. `make` writes a shard, `pattern` finds them all."""

    name: str
    n_rows: int
    n_features: int
    n_classes: int
    shard_rows: int
    pattern: ClassVar[str]

    def files(self, folder: Path) -> list[Path]:
        """Give the files of the rows, which are written if they are not there."""
        place = folder / self.name
        done = place / "complete"
        if not done.exists():
            place.mkdir(parents=True, exist_ok=True)
            self.write(place)
            done.touch()
        return sorted(place.glob(self.pattern))

    def write(self, place: Path) -> None:
        """Write all shards."""
        for i, (X, y) in enumerate(self.shards()):
            self.save(place, f"{i:03}", X, y)

    def shards(self) -> Iterator[tuple[np.ndarray | sp.csr_array, np.ndarray]]:
        """Draw the shards in turn."""
        for i, start in enumerate(range(0, self.n_rows, self.shard_rows)):
            rng = np.random.default_rng([SEED, i])
            yield self.draw(rng, min(self.shard_rows, self.n_rows - start))

    def draw(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray | sp.csr_array, np.ndarray]:
        """Draw n rows and their labels."""
        raise NotImplementedError

    def save(self, place: Path, number: str, X: np.ndarray | sp.csr_array, y: np.ndarray) -> None:
        """Write a shard."""
        raise NotImplementedError


@dataclass(frozen=True)
class DenseShards(OnDisk):
    """Correlated float32 rows in .npy files, and labels of a softmax model."""

    pattern: ClassVar[str] = "X_*.npy"

    def draw(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw rows with a few common factors."""
        shared = np.random.default_rng(SEED)
        axes = shared.standard_normal((N_FACTORS, self.n_features), dtype=np.float32)
        coef = shared.standard_normal((self.n_classes, self.n_features), dtype=np.float32)
        coef *= np.float32(SIGNAL / np.sqrt(self.n_features * (1 + FACTOR**2 * N_FACTORS)))
        X = rng.standard_normal((n, self.n_features), dtype=np.float32)
        X += FACTOR * rng.standard_normal((n, N_FACTORS), dtype=np.float32) @ axes
        return X, labels(rng, X @ coef.T)

    def save(self, place: Path, number: str, X: np.ndarray | sp.csr_array, y: np.ndarray) -> None:
        """Write X and y beside each other."""
        np.save(place / f"X_{number}.npy", X)
        np.save(place / f"y_{number}.npy", y.astype(np.int32))


@dataclass(frozen=True)
class HashedShards(OnDisk):
    """Categorical fields hashed to columns, ones in float32 CSR, and labels of a logistic model."""

    pattern: ClassVar[str] = "part_*.npz"

    def draw(self, rng: np.random.Generator, n: int) -> tuple[sp.csr_array, np.ndarray]:
        """Draw a value of each field, frequent ones often (the k-th has a probability of about 1/k)."""
        coef = HASHED_SIGNAL * np.random.default_rng(SEED).standard_normal(self.n_features)
        n_values = np.geomspace(10, MAX_VALUES, N_FIELDS)
        values = np.exp(rng.random((n, N_FIELDS)) * np.log(n_values)).astype(np.uint64)
        mixed = values * np.uint64(PRIMES[0]) + np.arange(N_FIELDS, dtype=np.uint64) * np.uint64(PRIMES[1])
        columns = ((mixed ^ (mixed >> np.uint64(29))) >> np.uint64(16)) % np.uint64(self.n_features)
        indptr = np.arange(0, n * N_FIELDS + 1, N_FIELDS)
        ones = np.ones(n * N_FIELDS, np.float32)
        X = sp.csr_array((ones, columns.astype(np.int32).ravel(), indptr), shape=(n, self.n_features))
        X.sum_duplicates()
        logit = X @ coef + HASHED_OFFSET
        return X, (rng.random(n) < 1.0 / (1.0 + np.exp(-logit))).astype(np.int64)

    def save(self, place: Path, number: str, X: np.ndarray | sp.csr_array, y: np.ndarray) -> None:
        """Write the parts of the matrix and the labels into one archive, not compressed."""
        parts = {"data": X.data, "indices": X.indices, "indptr": X.indptr, "shape": X.shape, "format": "csr"}
        np.savez(place / f"part_{number}.npz", y=y, **parts)


@dataclass(frozen=True)
class ParquetTable(DenseShards):
    """The rows of `DenseShards` in one Parquet file (zstd): a column a feature, and labels that are text."""

    pattern: ClassVar[str] = "*.parquet"
    target: ClassVar[str] = "label"

    def write(self, place: Path) -> None:
        """Write the file, a row group a shard."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        names = [f"f{j:04}" for j in range(self.n_features)]
        fields = [pa.field(name, pa.float32()) for name in names]
        schema = pa.schema([*fields, pa.field(self.target, pa.string())])
        with pq.ParquetWriter(place / "table.parquet", schema, compression="zstd") as writer:
            for X, y in self.shards():
                columns = [pa.array(column) for column in np.ascontiguousarray(X.T)]
                text = pa.array(np.char.add("class ", y.astype(str)).tolist(), pa.string())
                writer.write_table(pa.table([*columns, text], schema=schema))


@dataclass(frozen=True)
class AnnDataTable(HashedShards):
    """The rows of `HashedShards` in one .h5ad file: X in CSR, gzip, and the label a column of obs."""

    pattern: ClassVar[str] = "*.h5ad"
    target: ClassVar[str] = "label"

    def write(self, place: Path) -> None:
        """Write the file as AnnData 0.12 does, shard by shard."""
        import h5py

        with h5py.File(place / "table.h5ad", "w") as file:
            file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
            X = file.create_group("X")
            X.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0"})
            X.attrs["shape"] = np.array([self.n_rows, self.n_features])
            options = {"maxshape": (None,), "chunks": (2**16,), "compression": "gzip", "compression_opts": 4}
            data = X.create_dataset("data", (0,), np.float32, **options)
            indices = X.create_dataset("indices", (0,), np.int32, **options)
            ends, found = [np.zeros(1, np.int64)], []
            for part, y in self.shards():
                n_before = data.shape[0]
                for dataset, values in ((data, part.data), (indices, part.indices)):
                    dataset.resize((n_before + len(values),))
                    dataset[n_before:] = values
                ends.append(n_before + part.indptr[1:].astype(np.int64))
                found.append(y)
            X.create_dataset("indptr", data=np.concatenate(ends))
            self._obs(file, np.concatenate(found))

    def _obs(self, file: object, y: np.ndarray) -> None:
        """Write the table of rows: an index, and the labels as categories."""
        obs = file.create_group("obs")  # type: ignore[attr-defined]
        obs.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": "_index"})
        obs.attrs["column-order"] = np.array([self.target], dtype=object)
        index = obs.create_dataset("_index", data=np.arange(len(y)).astype("S"))
        index.attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})
        label = obs.create_group(self.target)
        label.attrs.update({"encoding-type": "categorical", "encoding-version": "0.2.0", "ordered": False})
        codes = label.create_dataset("codes", data=y.astype(np.int8))
        codes.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        names = label.create_dataset("categories", data=np.array([b"no", b"yes"]))
        names.attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})


def in_memory(files: list[str]) -> tuple[Any, np.ndarray]:
    """Read all shards into memory."""
    if files[0].endswith(".npy"):
        X = np.concatenate([np.load(name) for name in files])
        labels = [np.load(str(Path(name).with_name(Path(name).name.replace("X_", "y_")))) for name in files]
        return X, np.concatenate(labels)
    shards = [np.load(name) for name in files]
    parts = [
        sp.csr_array(
            (shard["data"], shard["indices"].astype(np.int32), shard["indptr"].astype(np.int32)),
            shape=tuple(shard["shape"]),
        )
        for shard in shards
    ]
    return sp.vstack(parts, format="csr"), np.concatenate([shard["y"] for shard in shards])
