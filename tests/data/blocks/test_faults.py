"""Law: a fault of a file is one line that names the file and the row if there is one; nothing is left."""

from __future__ import annotations

import gzip
import os
import threading

import numpy as np
import pytest
import scipy.sparse as sp

from fastsoftmax import SoftmaxRegression, open_rows, rows_from
from fastsoftmax.data.blocks import cache as caches
from tests.data.blocks import files

TINY = "8K"


def read(rows):
    return sum(1 for _ in rows.read())


def shards(folder, n_shards=4, n_rows=100):
    rng = np.random.default_rng(0)
    for k in range(n_shards):
        np.save(folder / f"X_{k}.npy", rng.normal(size=(n_rows, 8)))
        np.save(folder / f"y_{k}.npy", rng.integers(0, 3, n_rows))
    return folder


def one_line(error, *parts):
    text = str(error.value)
    assert "\n" not in text
    for part in parts:
        assert part in text
    assert not [t for t in threading.enumerate() if t.name == "fastsoftmax-reading"]


def test_a_shard_that_is_missing(tmp_path):
    rows = open_rows(shards(tmp_path), memory=TINY)
    assert rows.n_rows == 400
    (tmp_path / "X_2.npy").unlink()
    with pytest.raises(ValueError, match="is missing now") as error:
        rows.look()
    one_line(error, "X_2.npy")
    with pytest.raises(FileNotFoundError, match=r"no_such\.npy"):
        open_rows(tmp_path / "no_such.npy")


def test_labels_of_a_shard_that_are_missing(tmp_path):
    (shards(tmp_path) / "y_1.npy").unlink()
    with pytest.raises(FileNotFoundError) as error:
        open_rows(tmp_path)
    one_line(error, "y_1.npy", "X_1.npy")


@pytest.mark.parametrize("make", [files.npy, files.npz_dense, files.npz_csr_compressed, files.parquet,
                                  files.feather, files.h5ad, files.csv_gz, files.svmlight_gz],
                         ids=lambda make: make.__name__)  # fmt: skip
def test_a_truncated_file(make, tmp_path):
    for library, makers in files.NEEDS.items():
        if make in makers:
            pytest.importorskip(library)
    path, options = make(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(ValueError, match=path.name) as error:
        open_rows(path, **options, memory=TINY).look()
    one_line(error)


def test_a_file_that_is_cut_between_two_readings(tmp_path):
    rows = open_rows(shards(tmp_path), memory=TINY)
    rows.look()
    path = tmp_path / "X_3.npy"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match="bytes and has") as error:
        read(rows)
    one_line(error, "X_3.npy", "6528", "6520")


def test_a_file_whose_content_changes(tmp_path):
    rows = open_rows(shards(tmp_path), memory=TINY)
    rows.look()
    path = tmp_path / "X_0.npy"
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ValueError, match="its content has changed") as error:
        read(rows)
    one_line(error, "X_0.npy")


def test_a_file_that_is_written_again(tmp_path):
    rows = open_rows(shards(tmp_path), memory=TINY)
    rows.look()
    path = tmp_path / "y_0.npy"
    path.write_bytes(path.read_bytes())
    os.utime(path, ns=(1, 1))
    with pytest.raises(ValueError, match="it was written again") as error:
        read(rows)
    one_line(error, "y_0.npy")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_none_in_block_700(tmp_path, value):
    X = np.zeros((800 * 64, 8))
    row = 700 * 64 + 5
    X[row, 3] = value
    np.save(tmp_path / "X.npy", X)
    rows = open_rows(tmp_path / "X.npy", target=np.arange(len(X)) % 2, memory=TINY)
    with pytest.raises(ValueError, match="NaN" if np.isnan(value) else "infinity") as error:
        SoftmaxRegression().fit(rows)
    one_line(error, "X.npy", "column 3", f"row {row + 1}")


def test_a_number_that_is_none_in_sparse_rows(tmp_path):
    X = sp.random_array((5000, 40), density=0.1, format="csr", random_state=0)
    X.data[-3] = np.nan
    row = int(np.searchsorted(X.indptr, len(X.data) - 3, side="right"))
    sp.save_npz(tmp_path / "t.npz", X)
    with pytest.raises(ValueError, match="NaN") as error:
        open_rows(tmp_path / "t.npz", target=np.zeros(5000, int), memory=TINY).look()
    one_line(error, "t.npz", f"row {row}")


def test_a_missing_label(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    labels = ["a", "b"] * 300
    labels[411] = None
    pq.write_table(
        pa.table({"x": np.arange(600.0), "kind": labels}), tmp_path / "t.parquet", row_group_size=50
    )
    with pytest.raises(ValueError, match="is empty in row 412") as error:
        open_rows(tmp_path / "t.parquet", target="kind", memory=TINY).look()
    one_line(error, "t.parquet", "'kind'")


def test_labels_that_are_measurements(tmp_path):
    np.save(tmp_path / "X.npy", np.zeros((50, 2)))
    np.save(tmp_path / "y.npy", np.linspace(0, 1, 50))
    with pytest.raises(ValueError, match="not measurements"):
        open_rows(tmp_path / "X.npy").look()


def test_a_label_that_was_not_in_the_first_reading():
    readings = []

    def make():
        readings.append(1)
        for k in range(6):
            y = np.arange(100) % 3
            if len(readings) > 2 and k == 4:
                y[17] = 7
            yield np.full((100, 8), float(k)), y

    rows = rows_from(make, memory=TINY)  # the first call is for the first block alone
    with pytest.raises(ValueError, match="none of the classes") as error:
        SoftmaxRegression().fit(rows)
    one_line(error, "block 4", "row 18", "7")


def test_a_function_that_makes_other_rows():
    state = {"n": 0}

    def make():
        state["n"] += 1
        for k in range(6):
            yield np.full((100, 8), float(k + (state["n"] > 3 and k == 3))), np.arange(100) % 3

    rows = rows_from(make, memory=TINY)
    rows.look()
    read(rows)
    with pytest.raises(ValueError, match="block 3: its rows are not those of the first reading"):
        read(rows)


def test_files_that_do_not_fit_together(tmp_path):
    np.save(tmp_path / "X_0.npy", np.zeros((5, 3)))
    np.save(tmp_path / "X_1.npy", np.zeros((5, 4)))
    with pytest.raises(ValueError, match="has 4 features") as error:
        open_rows(tmp_path)
    one_line(error, "X_1.npy", "X_0.npy")
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    for k, names in enumerate([("a", "b", "kind"), ("a", "kind")]):
        pq.write_table(pa.table({name: [0, 1] for name in names}), tmp_path / f"{k}.parquet")
    with pytest.raises(ValueError, match="it lacks b") as error:
        open_rows(tmp_path / "*.parquet", target="kind")
    one_line(error, "1.parquet")


def test_a_cell_of_text_that_is_no_number(tmp_path):
    pytest.importorskip("pyarrow")
    lines = ["a,kind", *(f"{k},{k % 2}" for k in range(3000))]
    lines[2500] = "oops,1"
    (tmp_path / "t.csv").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="oops") as error:
        open_rows(tmp_path / "t.csv", target="kind", memory=TINY).look()
    one_line(error, "t.csv", "'a'", "row 2500")


def test_a_line_that_is_no_svmlight(tmp_path):
    lines = [f"{k % 2} 1:{k} 3:1" for k in range(1000)]
    lines[700] = "1 1:x"
    (tmp_path / "t.svm").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="no svmlight file") as error:
        open_rows(tmp_path / "t.svm", memory=TINY).look()
    one_line(error, "t.svm", "row 701")


def compressed(folder):
    X, y, _ = files.data()
    np.savez_compressed(folder / "t.npz", X=X, y=y)
    return folder / "t.npz"


def test_a_full_disk_while_the_cache_is_written(tmp_path, monkeypatch):
    path = compressed(tmp_path)
    written = []

    def write(self, array):
        written.append(1)
        if len(written) > 4:
            raise OSError(28, "No space left on device")
        return plain(self, array)

    plain = caches.CacheWriter._write
    monkeypatch.setattr(caches.CacheWriter, "_write", write)
    with pytest.raises(OSError, match="the disk is full") as error:
        open_rows(path, memory=TINY, cache=tmp_path / "kept").look()
    one_line(error, "cache=")
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_cache_is_used_again_and_replaced_when_the_file_changes(tmp_path):
    path = compressed(tmp_path)
    kept = tmp_path / "kept"
    before = open_rows(path, memory=TINY, cache=kept).look()
    assert len(list(kept.iterdir())) == 1
    place = next(kept.iterdir())
    made = (place / caches.ARRAYS).stat().st_ino
    again = open_rows(path, memory=TINY, cache=kept)
    assert again.look().learnt.n_rows.tolist() == before.learnt.n_rows.tolist()
    assert (place / caches.ARRAYS).stat().st_ino == made
    X, y, _ = files.data()
    np.savez_compressed(path, X=X + 1, y=y)
    rows = open_rows(path, memory=TINY, cache=kept)
    found = np.concatenate([X for X, _, _ in rows.blocks()])
    rows.look()
    np.testing.assert_array_equal(np.concatenate([X for X, _, _ in rows.blocks()]), found)
    np.testing.assert_array_equal(found, X + 1)
    assert [each.name for each in kept.iterdir()] == [place.name]


def test_a_cache_that_is_damaged_is_written_anew(tmp_path):
    path = compressed(tmp_path)
    kept = tmp_path / "kept"
    open_rows(path, memory=TINY, cache=kept).look()
    place = next(kept.iterdir())
    content = (place / caches.ARRAYS).read_bytes()
    (place / caches.ARRAYS).write_bytes(content[:-100])
    rows = open_rows(path, memory=TINY, cache=kept)
    rows.look()
    np.testing.assert_array_equal(np.concatenate([X for X, _, _ in rows.blocks()]), files.data()[0])


def test_a_temporary_cache_is_deleted(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    with open_rows(compressed(tmp_path), memory=TINY) as rows:
        rows.look()
        assert len(list((tmp_path / "temporary").iterdir())) == 1
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize("kind", [KeyboardInterrupt, RuntimeError])
def test_an_exception_in_the_body_ends_the_reading(tmp_path, kind):
    rows = open_rows(shards(tmp_path), memory=TINY)

    def interrupted():
        for _ in rows.blocks():
            raise kind

    with pytest.raises(kind):
        interrupted()
    assert not [t for t in threading.enumerate() if t.name == "fastsoftmax-reading" and t.is_alive()]


def test_damaged_gzip(tmp_path):
    with gzip.open(tmp_path / "t.svm.gz", "wb") as file:
        file.write(b"1 1:1\n0 2:1\n" * 2000)
    content = bytearray((tmp_path / "t.svm.gz").read_bytes())
    content[len(content) // 2] ^= 255
    (tmp_path / "t.svm.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"t\.svm\.gz") as error:
        open_rows(tmp_path / "t.svm.gz", memory=TINY).look()
    one_line(error)
