"""Law: every format is read as the same table; a fault of a file is one line that names it."""

from __future__ import annotations

import gzip
import importlib.util
import io
import os
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
import scipy.sparse
from sklearn.datasets import dump_svmlight_file, load_iris

from fastsoftmax.data.readers import EMBEDDED, read

X = np.array([[0.5, 1.0, -2.0], [3.0, 0.0, 0.25], [0.0, 0.0, 0.0], [7.0, -1.5, 4.0], [1.0, 1.0, 2.0]])
Y = np.array([0, 2, 1, 1, 0])
NAMES = np.array(["no", "yes", "no", "maybe", "yes"])


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _frame(labels=Y):
    return pandas.DataFrame(X, columns=["a", "b", "c"]).assign(label=labels)


def _refuses(source, match, error=ValueError, **options):
    with pytest.raises(error, match=match) as caught:
        read(source, **options)
    assert "\n" not in str(caught.value)
    assert source in str(caught.value)


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_sets_are_split_four_to_one_in_every_class(name):
    table = read(name)
    train, test = np.bincount(table.y), np.bincount(table.y_test)
    assert (test == (train + test) // 5).all()
    assert table.X.shape == (len(table.y), len(table.feature_names))
    assert len(table.class_names) == len(train)
    again = read(name)
    np.testing.assert_array_equal(table.X_test, again.X_test)


def test_embedded_rows_are_all_there_once():
    table = read("iris")
    both = np.concatenate([table.X, table.X_test])
    reference = load_iris().data
    np.testing.assert_array_equal(both[np.lexsort(both.T)], reference[np.lexsort(reference.T)])


def test_embedded_sets_take_no_target():
    _refuses("iris", "no target", target="species")


# Tables of text


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "T.CSV"])
@pytest.mark.parametrize("labels", [Y, NAMES, Y == 1, Y / 2], ids=["int", "str", "bool", "float"])
def test_csv(name, labels):
    _frame(labels).to_csv(name, index=False, compression="infer")
    table = read(name)
    np.testing.assert_array_equal(table.X, X)
    np.testing.assert_array_equal(table.y, labels)
    assert table.y.dtype.kind == labels.dtype.kind
    assert table.feature_names == ("a", "b", "c")
    assert table.notes == ()


@pytest.mark.parametrize("target", ["b", "1", "-3"])
def test_csv_target_by_name_and_by_index(target):
    _frame(Y / 2).to_csv("t.csv", index=False)
    table = read("t.csv", target=target)
    np.testing.assert_array_equal(table.y, X[:, 1])
    np.testing.assert_array_equal(table.X, np.column_stack([X[:, 0], X[:, 2], Y / 2]))


def test_csv_a_name_goes_before_an_index():
    pandas.DataFrame({"1": Y, "a": X[:, 0], "b": X[:, 1]}).to_csv("t.csv", index=False)
    np.testing.assert_array_equal(read("t.csv", target="1").y, Y)


def test_csv_without_labels():
    frame = _frame()
    frame[["a", "b", "c"]].to_csv("t.csv", index=False)
    table = read("t.csv", labelled=False)
    assert table.y is None
    np.testing.assert_array_equal(table.X, X)
    frame.to_csv("t.csv", index=False)
    np.testing.assert_array_equal(read("t.csv", labelled=False, target="label").X, X)


@pytest.mark.parametrize("labels", [Y, NAMES], ids=["int", "str"])
def test_csv_without_a_header_loses_no_row(labels):
    _frame(labels).to_csv("t.csv", index=False, header=False)
    table = read("t.csv")
    np.testing.assert_array_equal(table.X, X)
    np.testing.assert_array_equal(table.y, labels)
    assert "no header" in table.notes[0]


@pytest.mark.parametrize("names", ["0123", "1234", ["0", "1", "2", "digit"]])
def test_csv_counted_columns_are_a_header(names):
    frame = _frame()
    frame.columns = list(names)
    frame.to_csv("t.csv", index=False)
    np.testing.assert_array_equal(read("t.csv").X, X)


def test_csv_whole_numbers_stay_whole():
    pandas.DataFrame({"a": [1, 2], "b": [True, False], "y": [0, 1]}).to_csv("t.csv", index=False)
    assert read("t.csv").X.dtype == np.int64


def test_csv_refusals():
    _frame().assign(town="x").to_csv("t.csv", index=False)
    _refuses("t.csv", "feature column 'town' does not hold numbers", target="label")
    _refuses("t.csv", "no column 'z'; it has 5 columns: a, b, c, label, town", target="z")
    _refuses("t.csv", "no column '5'", target="5")
    _frame([0, 1, None, 1, 0]).to_csv("t.csv", index=False)
    _refuses("t.csv", "column 'label' has 1 empty cells, the first in data row 3")
    _frame().assign(a=[1, 2, 3, np.nan, np.nan]).to_csv("t.csv", index=False)
    _refuses("t.csv", "column 'a' has 2 empty cells, the first in data row 4")
    _frame().iloc[:0].to_csv("t.csv", index=False)
    _refuses("t.csv", "is empty: 0 rows")
    Path("t.csv").write_bytes(b"a,b,y\n1,2,0\n1,2,3,0\n")
    _refuses("t.csv", "damaged or no CSV file")
    Path("t.csv").write_bytes(b"a,y\n1,2,0\n1,2,0\n")
    _refuses("t.csv", "more cells than the header")


def test_csv_that_is_something_else():
    np.savez("t.npz", X=X)
    Path("t.npz").replace("t.csv")
    _refuses("t.csv", r"t\.csv")
    Path("t.csv.gz").write_bytes(b"a,b\n1,2\n")
    _refuses("t.csv.gz", "damaged or no CSV file")


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed")
def test_parquet():
    _frame(NAMES).assign(a=pandas.array([1, 2, 3, 4, 5], dtype="Int16")).to_parquet("t.parquet")
    table = read("t.parquet")
    np.testing.assert_array_equal(table.X[:, 0], [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(table.y, NAMES)
    pandas.DataFrame({"a": X[:, 0].astype(np.uint8), "b": np.ones(5, np.uint8), "y": Y}).to_parquet(
        "t.parquet"
    )
    assert read("t.parquet").X.dtype == np.uint8
    os.truncate("t.parquet", 60)
    _refuses("t.parquet", "damaged or no parquet file")


def test_parquet_without_a_library_says_what_to_install(monkeypatch):
    for name in ("pyarrow", "fastparquet"):
        monkeypatch.setitem(sys.modules, name, None)
    Path("t.parquet").write_bytes(b"PAR1")
    _refuses("t.parquet", "needs pyarrow: pip install pyarrow", ImportError)


# NumPy files


def test_npy():
    np.save("t.npy", np.column_stack([X, Y]))
    table = read("t.npy")
    np.testing.assert_array_equal(table.X, X)
    np.testing.assert_array_equal(table.y, Y, strict=True)  # floats that are whole become integers
    assert read("t.npy", labelled=False).X.shape == (5, 4)


@pytest.mark.parametrize("target", ["0", "1", "-1"])
def test_npy_target(target):
    whole = np.arange(20, dtype=np.uint8).reshape(5, 4)
    np.save("t.npy", whole)
    table = read("t.npy", target=target)
    np.testing.assert_array_equal(table.y, whole[:, int(target)], strict=True)
    np.testing.assert_array_equal(table.X, np.delete(whole, int(target), axis=1), strict=True)


def test_npy_refusals():
    np.save("t.npy", np.arange(3))
    _refuses("t.npy", "not a table")
    np.save("t.npy", np.zeros((0, 3)))
    _refuses("t.npy", "is empty")
    np.save("t.npy", np.array([["a", "b"]]))
    _refuses("t.npy", "not numbers")
    np.save("t.npy", np.array([[1, None]]), allow_pickle=True)
    _refuses("t.npy", "damaged or no .npy file")
    np.save("t.npy", X)
    _refuses("t.npy", "no column '3'; it has columns 0 to 2", target="3")
    os.truncate("t.npy", 150)
    _refuses("t.npy", "damaged or no .npy file")
    np.save("t.npy", np.array([[1, np.nan]]))
    _refuses("t.npy", "labels hold NaN")
    np.savez("t.npz", X=X)
    Path("t.npz").replace("t.npy")
    _refuses("t.npy", "several arrays")


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float16, np.float32])
def test_npz_keeps_the_dtype(dtype):
    np.savez("t.npz", X=np.abs(X).astype(dtype), y=Y)
    assert read("t.npz").X.dtype == dtype


def test_npz_with_parts():
    np.savez("t.npz", X_train=X, y_train=Y, X_test=X[:2], y_test=Y[:2], class_names=np.array(["p", "q", "r"]))
    table = read("t.npz")
    np.testing.assert_array_equal(table.X_test, X[:2])
    np.testing.assert_array_equal(table.y_test, Y[:2])
    assert table.class_names == ("p", "q", "r")


def test_npz_labels_by_name_or_none():
    np.savez("t.npz", X=X, kind=NAMES)
    np.testing.assert_array_equal(read("t.npz", target="kind").y, NAMES)
    assert read("t.npz", labelled=False).y is None
    _refuses("t.npz", "no labels 'y'; it holds X, kind")
    _refuses("t.npz", "no labels 'z'", labelled=False, target="z")


def test_npz_matrix_of_labels():
    proba = np.full((5, 4), 0.25)
    np.savez("t.npz", X=X, y=proba)
    np.testing.assert_array_equal(read("t.npz").y, proba)


@pytest.mark.parametrize("form", ["csr", "csc"])
def test_npz_as_scipy_saves_it(form):
    matrix = scipy.sparse.csr_array(X).asformat(form)
    scipy.sparse.save_npz("t.npz", matrix)
    np.testing.assert_array_equal(read("t.npz", labelled=False).X.toarray(), X)
    with np.load("t.npz") as parts:
        np.savez("t.npz", y=Y, **parts)
    table = read("t.npz")
    assert table.X.format == "csr"
    np.testing.assert_array_equal(table.y, Y)


def _sparse_parts(prefix="train_", **changes):
    matrix = scipy.sparse.csr_array(X)
    parts = {name: getattr(matrix, name) for name in ("data", "indices", "indptr")}
    parts["shape"] = np.array(matrix.shape)
    return {prefix + name: value for name, value in (parts | changes).items()} | {"y_train": Y}


def test_npz_refusals():
    np.savez("t.npz", X=X, y=Y[:3])
    _refuses("t.npz", r"5 rows, but labels of shape \(3,\)")
    np.savez("t.npz", X_train=X, y_train=Y, X_test=X[:, :2], y_test=Y)
    _refuses("t.npz", "3 features in its training part, 2 in its test part")
    np.savez("t.npz", X_train=X, y_train=Y, X_test=X, y_test=Y[:2])
    _refuses("t.npz", "5 test rows, but test labels")
    np.savez("t.npz", foo=X)
    _refuses("t.npz", "holds foo; X and y")
    np.savez("t.npz", X=X[0], y=Y)
    _refuses("t.npz", "1 dimensions, not 2")
    np.savez("t.npz", X=np.array([[None]]), y=Y)
    _refuses("t.npz", "array 'X' holds Python objects")
    np.save("t.npy", X)
    Path("t.npy").replace("t.npz")
    _refuses("t.npz", "a single array")
    scipy.sparse.save_npz("t.npz", scipy.sparse.coo_array(X))
    _refuses("t.npz", "in 'coo' format; csr and csc are read", labelled=False)


@pytest.mark.parametrize(
    "changes",
    [
        {"indices": np.full(scipy.sparse.csr_array(X).nnz, 3)},
        {"indices": np.full(scipy.sparse.csr_array(X).nnz, -1)},
        {"indptr": np.array([0, 2, 1, 4, 5, 11])},
        {"indptr": np.array([0, 2])},
        {"shape": np.array([5])},
        {"data": np.ones(2)},
    ],
    ids=["index too large", "index negative", "indptr falls", "indptr short", "shape", "data short"],
)
def test_npz_spoilt_csr_never_reaches_a_kernel(changes):
    np.savez("t.npz", **_sparse_parts(**changes))
    _refuses("t.npz", "damaged or no CSR .npz file")


def test_npz_csr_lacks_a_part():
    parts = _sparse_parts()
    del parts["train_indptr"]
    np.savez("t.npz", **parts)
    _refuses("t.npz", "no array 'train_indptr'")


def test_npz_idf_by_hand():
    idf = np.array([1.0, 2.0, 0.5], dtype=np.float32)
    np.savez("t.npz", idf=idf, **_sparse_parts())
    table = read("t.npz")
    expected = X * idf
    norms = np.linalg.norm(expected, axis=1, keepdims=True)
    expected = np.divide(expected, norms, where=norms > 0, out=np.zeros_like(expected))
    assert table.X.dtype == np.float32
    # a product, a square root's rounding and a quotient: at most 3 roundings of eps / 2 each
    np.testing.assert_allclose(table.X.toarray(), expected, rtol=2 * np.finfo(np.float32).eps)
    assert "TF-IDF" in table.notes[0]
    np.savez("t.npz", idf=idf[:2], **_sparse_parts())
    _refuses("t.npz", "'idf' has shape")


# svmlight


@pytest.mark.parametrize("name", ["t.svm", "t.svm.gz"])
@pytest.mark.parametrize("zero_based", [False, True])
def test_svm(name, zero_based):
    buffer = io.BytesIO()
    dump_svmlight_file(X, Y, buffer, zero_based=zero_based)
    content = buffer.getvalue()
    Path(name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    table = read(name)
    np.testing.assert_array_equal(table.X.toarray(), X)
    np.testing.assert_array_equal(table.y, Y, strict=True)
    assert read(name, n_features=9).X.shape == (5, 9)
    _refuses(name, r"line 1 has index \d, beyond the 1 features", n_features=1)
    _refuses(name, "no target column", target="0")


@pytest.mark.parametrize("content", [b"label\x00junk", b"a,b,c\n1,2,3\n", b"1 2:3 4:\n"])
def test_svm_refusals(content):
    Path("t.svm").write_bytes(content)
    _refuses("t.svm", r"t\.svm")


# Files in general


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".csv", ".csv.gz", ".parquet", ".svm", ".svm.gz"])
def test_missing_empty_and_folder(suffix, tmp_path):
    name = "t" + suffix
    _refuses(name, "does not exist", FileNotFoundError)
    (tmp_path / name).mkdir()
    _refuses(name, "not a regular file")
    (tmp_path / name).rmdir()
    (tmp_path / name).write_bytes(b"")
    _refuses(name, "is empty")


def test_other_names(tmp_path):
    _refuses("digit", r"does not exist \(embedded sets: digits", FileNotFoundError)
    (tmp_path / "t.xlsx").write_bytes(b"PK")
    _refuses("t.xlsx", "cannot tell what kind")


def test_truncated_at_every_place(tmp_path):
    np.savez_compressed("whole.npz", X=X, y=Y)
    _frame().to_csv("whole.csv.gz", index=False)
    with gzip.open("whole.svm.gz", "wb") as file:
        dump_svmlight_file(X, Y, file)
    for whole in ("whole.npz", "whole.csv.gz", "whole.svm.gz"):
        content = (tmp_path / whole).read_bytes()
        name = whole.replace("whole", "part")
        for length in range(1, len(content) - 9, 7):  # a gzip file's last 8 bytes are its check sum
            (tmp_path / name).write_bytes(content[:length])
            _refuses(name, "part")


# Real data


@pytest.mark.data
@pytest.mark.parametrize("name", ["dry_bean", "steel_plates", "shuttle", "tep_faults", "tox171"])
def test_real_dense_sets(data_dir, name):
    table = read(str(data_dir / f"{name}.npz"))
    with np.load(data_dir / f"{name}.npz") as parts:
        np.testing.assert_array_equal(table.X, parts["X_train"], strict=True)
        np.testing.assert_array_equal(table.y_test, parts["y_test"], strict=True)


@pytest.mark.data
@pytest.mark.parametrize("name", ["ag_news_7600", "banking77", "clinc150"])
def test_real_sparse_sets_as_their_readme_turns_them_into_tf_idf(data_dir, name):
    table = read(str(data_dir / f"{name}.npz"))
    with np.load(data_dir / f"{name}.npz") as z:
        for part, ours in (("train", table.X), ("test", table.X_test)):
            counts = scipy.sparse.csr_matrix(
                (z[part + "_data"], z[part + "_indices"], z[part + "_indptr"]),
                shape=tuple(z[part + "_shape"]),
            )
            weighted = (counts @ scipy.sparse.diags(z["idf"])).tocsr()
            norm = np.sqrt(np.asarray(weighted.multiply(weighted).sum(1)).ravel())
            norm[norm == 0] = 1
            expected = (scipy.sparse.diags(1 / norm) @ weighted).tocsr()
            np.testing.assert_array_equal(ours.indices, expected.indices)
            # the formula in float32 sums up to some hundred squares before the root
            np.testing.assert_allclose(ours.data, expected.data, rtol=1e-5)
