"""One small data set in every format that is read by blocks."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from sklearn.datasets import dump_svmlight_file

if TYPE_CHECKING:
    from pathlib import Path

N, D = 401, 11
NAMES = tuple(f"f{j}" for j in range(D))


def data(dtype=np.float32, *, sparse=False):
    """Rows with numbers that every format holds exactly, text labels, and weights."""
    rng = np.random.default_rng(3)
    X = (rng.integers(-64, 64, (N, D)) / 8).astype(dtype)
    if sparse:
        X = np.where(rng.random((N, D)) < 0.5, X, 0).astype(dtype)
        X[7] = 0  # an empty row
    y = np.array(["bee", "ant", "cat"])[rng.integers(0, 3, N)]
    w = rng.integers(1, 5, N) / 2
    return X, y, w


def npy(folder: Path):
    X, y, w = data()
    np.save(folder / "X.npy", X)
    np.save(folder / "y.npy", y)
    np.save(folder / "w.npy", w)
    return folder / "X.npy", {"sample_weight": str(folder / "w.npy")}


def npy_by_columns(folder: Path):
    X, y, w = data()
    np.save(folder / "X.npy", np.asfortranarray(X))
    return folder / "X.npy", {"target": y, "sample_weight": w}


def npy_shards(folder: Path):
    X, y, w = data()
    for k, part in enumerate(np.array_split(np.arange(N), 4)):
        np.save(folder / f"X_{k:03d}.npy", X[part])
        np.save(folder / f"y_{k:03d}.npy", y[part])
    return folder, {"sample_weight": w}


def npz_dense(folder: Path):
    X, y, w = data()
    np.savez(folder / "t.npz", X=X, y=y, w=w)
    return folder / "t.npz", {"sample_weight": "w"}


def npz_compressed(folder: Path):
    X, y, w = data()
    np.savez_compressed(folder / "t.npz", X=X, y=y, w=w)
    return folder / "t.npz", {"sample_weight": "w"}


def _csr_members(X):
    matrix = sp.csr_array(X)
    return {
        "data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr,
        "shape": np.array(matrix.shape), "format": np.array(b"csr"),
    }  # fmt: skip


def npz_csr(folder: Path):
    X, y, w = data(sparse=True)
    for k, part in enumerate(np.array_split(np.arange(N), 3)):
        np.savez(folder / f"part{k}.npz", y=y[part], w=w[part], **_csr_members(X[part]))
    return str(folder / "part*.npz"), {"sample_weight": "w"}


def npz_csr_compressed(folder: Path):
    X, y, w = data(sparse=True)
    np.savez_compressed(folder / "t.npz", y=y, w=w, **_csr_members(X))
    return folder / "t.npz", {"sample_weight": "w"}


def _table(X, y, w):
    import pyarrow as pa

    columns = {name: X[:, j] for j, name in enumerate(NAMES)}
    return pa.table({**columns, "kind": pa.array(y), "w": w})


def parquet(folder: Path):
    import pyarrow.parquet as pq

    pq.write_table(_table(*data()), folder / "t.parquet", row_group_size=17, compression="zstd")
    return folder / "t.parquet", {"target": "kind", "sample_weight": "w"}


def parquet_dictionaries(folder: Path):
    """Row groups whose dictionaries differ: the classes come up in another order in each."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = _table(*data())
    at = table.schema.get_field_index("kind")
    table = table.set_column(at, "kind", table["kind"].dictionary_encode())
    with pq.ParquetWriter(folder / "t.parquet", table.schema) as writer:
        for start in range(0, N, 19):
            part = table.slice(start, 19)
            words = part["kind"].combine_chunks().dictionary_decode()
            part = part.set_column(at, "kind", pa.chunked_array([words.dictionary_encode()]))
            writer.write_table(part)
    return folder / "t.parquet", {"target": "kind", "sample_weight": "w"}


def _embedded(kind):
    import pyarrow as pa

    X, y, w = data()
    if kind == "fixed":
        lists = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), D)
    else:
        lists = pa.array(X.tolist(), pa.list_(pa.float32()))
    return pa.table({"embedding": lists, "kind": pa.array(y), "w": w})


def parquet_embeddings(folder: Path):
    import pyarrow.parquet as pq

    pq.write_table(_embedded("fixed"), folder / "t.parquet", row_group_size=50)
    return folder / "t.parquet", {"target": "kind", "sample_weight": "w"}


def parquet_lists(folder: Path):
    import pyarrow.parquet as pq

    pq.write_table(_embedded("list"), folder / "t.parquet", row_group_size=50)
    return folder / "t.parquet", {"target": "kind", "sample_weight": "w", "features": "embedding"}


def feather(folder: Path):
    from pyarrow import feather

    feather.write_feather(_table(*data()), str(folder / "t.feather"), chunksize=30)
    return folder / "t.feather", {"target": "kind", "sample_weight": "w"}


def _text(X, y, w):
    lines = [",".join((*NAMES, "kind", "w"))]
    for row, label, weight in zip(X.tolist(), y.tolist(), w.tolist()):
        lines.append(",".join((*map(repr, row), label, repr(weight))))
    return "\n".join(lines) + "\n"


def csv(folder: Path):
    (folder / "t.csv").write_text(_text(*data(np.float64)))
    return folder / "t.csv", {"target": "kind", "sample_weight": "w"}


def csv_gz(folder: Path):
    with gzip.open(folder / "t.csv.gz", "wt") as file:
        file.write(_text(*data(np.float64)))
    return folder / "t.csv.gz", {"target": "kind", "sample_weight": "w"}


def csv_zst(folder: Path):
    import pyarrow as pa

    with pa.output_stream(str(folder / "t.csv.zst"), compression="zstd") as file:
        file.write(_text(*data(np.float64)).encode())
    return folder / "t.csv.zst", {"target": "kind", "sample_weight": "w"}


def _svmlight(path, *, zero_based):
    X, y, w = data(np.float64, sparse=True)
    with path.open("wb") as file:
        dump_svmlight_file(X, np.unique(y, return_inverse=True)[1] + 1, file, zero_based=zero_based)
    return w


def svmlight(folder: Path):
    return folder / "t.svm", {"sample_weight": _svmlight(folder / "t.svm", zero_based=False)}


def svmlight_from_zero(folder: Path):
    return folder / "t.svm", {"sample_weight": _svmlight(folder / "t.svm", zero_based=True)}


def svmlight_gz(folder: Path):
    w = _svmlight(folder / "t.svm", zero_based=False)
    with gzip.open(folder / "u.svm.gz", "wb") as file:
        file.write((folder / "t.svm").read_bytes())
    return folder / "u.svm.gz", {"sample_weight": w}


def _anndata(root, X, y, w, *, categorical=True):
    """The layout of AnnData, in HDF5 or Zarr; rows of X by chunks."""
    X_node = root
    if sp.issparse(X):
        group = X_node.create_group("X")
        group.attrs["encoding-type"] = "csr_matrix"
        group.attrs["encoding-version"] = "0.1.0"
        group.attrs["shape"] = list(X.shape)
        for name in ("data", "indices", "indptr"):
            _array(group, name, getattr(X, name))
    else:
        _array(X_node, "X", X)
    layers = root.create_group("layers")
    _array(layers, "doubled", (X.toarray() if sp.issparse(X) else X) * 2)
    var = root.create_group("var")
    var.attrs["_index"] = "_index"
    _array(var, "_index", np.array(NAMES, dtype="S"))
    obs = root.create_group("obs")
    classes, codes = np.unique(y, return_inverse=True)
    kind = obs.create_group("kind")
    kind.attrs["encoding-type"] = "categorical"
    # an order of its own, and a category without rows
    order = np.array([2, 0, 1])
    _array(kind, "categories", np.append(classes[order], "none").astype("S"))
    _array(kind, "codes", np.argsort(order)[codes].astype(np.int8))
    _array(obs, "plain", y.astype("S"))
    _array(obs, "w", w)


def _array(group, name, values):
    if hasattr(group, "create_dataset") and "h5py" in type(group).__module__:
        options = {"chunks": (min(40, len(values)), *values.shape[1:]), "compression": "gzip"}
        group.create_dataset(name, data=values, **options)
    else:
        if values.dtype.kind == "S":  # AnnData's text in Zarr has no fixed length
            values = values.astype(str).astype(np.dtypes.StringDType())
        made = group.create_array(
            name, shape=values.shape, dtype=values.dtype, chunks=(40, *values.shape[1:])
        )
        made[...] = values


def h5ad(folder: Path):
    import h5py

    X, y, w = data(sparse=True)
    with h5py.File(folder / "t.h5ad", "w") as root:
        _anndata(root, sp.csr_matrix(X), y, w)
    return folder / "t.h5ad", {"target": "kind", "sample_weight": "w"}


def h5ad_dense(folder: Path):
    import h5py

    X, y, w = data()
    with h5py.File(folder / "t.h5ad", "w") as root:
        _anndata(root, X, y, w)
    return folder / "t.h5ad", {"target": "plain", "sample_weight": "w"}


def zarr(folder: Path):
    import zarr

    X, y, w = data(sparse=True)
    _anndata(zarr.open_group(str(folder / "t.zarr"), mode="w"), sp.csr_matrix(X), y, w)
    return folder / "t.zarr", {"target": "kind", "sample_weight": "w"}


def zarr_dense(folder: Path):
    import zarr

    X, y, w = data()
    _anndata(zarr.open_group(str(folder / "t.zarr"), mode="w"), X, y, w)
    return folder / "t.zarr", {"target": "plain", "sample_weight": "w"}


SPARSE = (npz_csr, npz_csr_compressed, svmlight, svmlight_from_zero, svmlight_gz, h5ad, zarr)
NUMBERED = (svmlight, svmlight_from_zero, svmlight_gz)  # labels 1, 2, 3
NEEDS = {
    "pyarrow": (
        parquet,
        parquet_dictionaries,
        parquet_embeddings,
        parquet_lists,
        feather,
        csv,
        csv_gz,
        csv_zst,
    ),
    "h5py": (h5ad, h5ad_dense),
    "zarr": (zarr, zarr_dense),
}
FORMATS = (
    npy, npy_by_columns, npy_shards, npz_dense, npz_compressed, npz_csr, npz_csr_compressed,
    svmlight, svmlight_from_zero, svmlight_gz, *NEEDS["pyarrow"], *NEEDS["h5py"], *NEEDS["zarr"],
)  # fmt: skip
