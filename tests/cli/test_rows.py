"""Law: data that is read by blocks gives the commands what the same data gives as one table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fastsoftmax import load
from fastsoftmax.cli import streaming
from fastsoftmax.cli.app import app
from fastsoftmax.data.readers import Request
from tests.data.blocks import files

pandas = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
NONE = streaming.Storage()


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _frame():
    X, y, w = files.data(np.float64)
    return pandas.DataFrame(X, columns=files.NAMES).assign(w=w, kind=y)


def _run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def _json(*words):
    result = _run(*words, "--json")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    return json.loads(result.stdout)


def _fails(*words, status=1):
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    result = _run(*words)
    assert result.exit_code == status, result.stderr
    assert result.stdout == ""
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
    if status == 2:
        return " ".join(result.stderr.replace("│", "").split())
    (line,) = result.stderr.splitlines()
    return line


def test_a_fit_by_blocks_is_that_of_the_table():
    _frame().to_parquet("t.parquet")
    options = ("--weight", "w", "--drop", "f3", "--out", "m")
    said = _json("fit", "t.parquet", "--memory", "20K", *options)
    table = _json("fit", "t.parquet", *options)
    assert said["readings"] == said["passes"] + 1 > 1
    assert said["bytes_read"] == said["readings"] * files.N * (files.D - 1) * 8
    assert (table["readings"], table["bytes_read"]) == (None, None)
    for key in ("data", "rows", "features", "target", "feature_names", "class_labels", "C", "model", "notes"):
        assert said[key] == table[key], key
    assert said["objective"] == pytest.approx(table["objective"], rel=2e-6)
    assert 0 <= said["duality_gap"] <= 1e-6 * said["objective"]
    assert 0 < said["train_accuracy_rows"] < files.N == table["train_accuracy_rows"]


def test_what_is_printed():
    _frame().drop(columns="w").to_csv("t.csv", index=False)
    result = _run("fit", "t.csv", "--memory", "30K", "--test-size", "0.25")
    assert (result.exit_code, result.stderr) == (0, "")
    names = [line[:14].strip() for line in result.stdout.splitlines() if line[:1].strip()]
    assert names == [
        *("data", "label", "features", "classes", "solver", "read", "time", "objective", "duality gap"),
        *("train accuracy", "test accuracy", "most confused", "model"),
    ]
    assert " readings, " in result.stdout
    assert "of a sample of" in result.stdout


def test_held_out_rows_are_a_part_of_all():
    _frame().drop(columns="w").to_parquet("t.parquet")
    said = _json("fit", "t.parquet", "--memory", "20K", "--test-size", "0.25")
    assert said["rows"] + said["test_rows"] == files.N
    assert 70 <= said["test_rows"] <= 130
    assert 0 <= said["test_accuracy"] <= 1
    assert "held out as test data" in said["notes"][0]
    # no row of the one part is in the other: the objective is that of the others alone
    from fastsoftmax import SoftmaxRegression
    from fastsoftmax.data.blocks.held_out import is_held_out, n_held_out

    test = is_held_out(0, files.N, 0.25)
    assert n_held_out(files.N, 0.25) == test.sum() == said["test_rows"]
    X, y, _ = files.data(np.float64)
    alone = SoftmaxRegression().fit(X[~test], y[~test])
    assert said["objective"] == pytest.approx(alone.objective_, rel=2e-6)
    assert said["test_accuracy"] == pytest.approx(alone.score(X[test], y[test]), abs=0.02)


@pytest.mark.parametrize("test", ["t.parquet", "t.feather", "t.csv"])
def test_other_test_data_in_blocks_or_as_a_table(test):
    frame = _frame().drop(columns="w")
    frame.to_parquet("t.parquet")
    frame.to_feather("t.feather")
    frame.iloc[:, ::-1].to_csv("t.csv", index=False)
    said = _json("fit", "t.parquet", "--memory", "1M", "--test", test)
    assert said["test_rows"] == files.N
    assert said["test_accuracy"] == said["train_accuracy"]
    assert _json("fit", "t.parquet", "--test", test)["test_accuracy"] == said["test_accuracy"]


def test_a_test_that_fails_leaves_the_model():
    _frame().drop(columns="w").to_parquet("t.parquet")
    _frame().drop(columns="w").replace("bee", "wasp").to_feather("other.feather")
    result = _run("fit", "t.parquet", "--memory", "20K", "--test", "other.feather", "--out", "m")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "other.feather" in line
    assert "'wasp', none of the classes" in line
    assert "saved in 'm'" in line
    assert load("m").classes_.tolist() == ["ant", "bee", "cat"]


def test_predictions_have_the_bytes_of_those_of_the_table():
    frame = _frame().drop(columns="w")
    frame.to_csv("t.csv", index=False)
    frame.to_parquet("t.parquet")
    assert _run("fit", "t.csv", "--out", "m").exit_code == 0
    for more in ((), ("--proba",)):
        for suffix in (".csv", ".npy", ".parquet"):
            assert _run("predict", "m", "t.csv", *more, "--out", f"a{suffix}").exit_code == 0
            said = _json("predict", "m", "t.csv", *more, "--memory", "20K", "--out", f"b{suffix}")
            assert said["rows"] == files.N
            if suffix == ".parquet":
                assert pandas.read_parquet("a.parquet").equals(pandas.read_parquet("b.parquet"))
            else:
                assert Path(f"a{suffix}").read_bytes() == Path(f"b{suffix}").read_bytes()
        assert _run("predict", "m", "t.parquet", *more, "--memory", "20K").stdout == Path("a.csv").read_text()
    score = _json("score", "m", "t.parquet", "--memory", "20K")
    whole = _json("score", "m", "t.csv")
    assert (score["rows"], score["accuracy"]) == (files.N, whole["accuracy"])
    assert score["log_loss"] == pytest.approx(whole["log_loss"], rel=1e-12)


FORMATS = [files.npy_shards, files.npz_csr, files.svmlight, files.parquet_embeddings, files.feather,
           files.csv_zst, files.h5ad, files.zarr]  # fmt: skip


@pytest.mark.parametrize("make", FORMATS, ids=lambda make: make.__name__)
def test_every_format(make, tmp_path):
    for library, makers in files.NEEDS.items():
        if make in makers:
            pytest.importorskip(library)
    (tmp_path / "data").mkdir()
    path, options = make(tmp_path / "data")
    weight = options.get("sample_weight")
    words = ("--weight", weight) if isinstance(weight, str) else ()
    words += ("--target", options["target"]) if "target" in options else ()
    said = _json("fit", path, *words, "--memory", "20K", "--out", "m")
    assert (said["rows"], said["classes"], said["features"]) == (files.N, 3, files.D)
    assert _json("predict", "m", path, "--memory", "20K", "--out", "p.npy")["rows"] == files.N
    score = _json("score", "m", path, "--memory", "20K", *words[2:])
    assert score["rows"] == files.N
    fitted, labels = load("m"), np.load("p.npy")
    assert set(labels.tolist()) <= set(fitted.classes_.tolist())
    y = files.data(sparse=make in files.SPARSE)[1]
    known = np.unique(y, return_inverse=True)[1] + 1 if make in files.NUMBERED else y
    assert np.mean(labels == known) == score["accuracy"]


def test_which_data_is_read_by_blocks(monkeypatch):
    _frame().to_csv("t.csv", index=False)
    np.save("X.npy", np.zeros((4, 2)))
    Path("folder").mkdir()
    request = Request()
    assert streaming.reason(["t.csv"], request, NONE) is None
    assert streaming.reason(["X.npy"], request, NONE) is None
    assert streaming.reason(["iris"], request, NONE) is None
    assert streaming.reason(["no.csv"], request, NONE) is None
    assert streaming.reason(["t.csv"], request, streaming.Storage("1G")) == "--memory"
    assert streaming.reason(["t.csv", "t.csv"], request, NONE) == "several files"
    assert streaming.reason(["*.csv"], request, NONE) == "several files"
    assert streaming.reason(["folder"], request, NONE) == "a folder"
    Path("t.arrow").touch()
    assert streaming.reason(["t.arrow"], request, NONE) == ".arrow"
    np.save("y.npy", np.zeros(4))
    assert streaming.reason(["X.npy"], request, NONE) == "labels in another file"
    assert streaming.reason(["X.npy"], Request(labelled=False), NONE) is None
    size = Path("t.csv").stat().st_size
    monkeypatch.setattr(streaming, "available_memory", lambda: 3 * size)
    assert streaming.reason(["t.csv"], request, NONE) is None
    monkeypatch.setattr(streaming, "available_memory", lambda: 3 * size - 3)
    assert "more than a third of the" in streaming.reason(["t.csv"], request, NONE)
    monkeypatch.setattr(streaming, "available_memory", lambda: None)
    assert streaming.reason(["t.csv"], request, NONE) is None


def test_usage_that_is_wrong_is_2():
    _frame().to_csv("t.csv", index=False)
    assert '"500M" or "2G"' in _fails("fit", "t.csv", "--memory", "lots", status=2)
    assert "read as one table" in _fails("fit", "iris", "--memory", "1G", status=2)
    assert "read as one table" in _fails("fit", "iris", "t.csv", status=2)
    assert "--drop-missing goes with" in _fails("fit", "t.csv", "--memory", "1G", "--drop-missing", status=2)
    assert _run("fit", "t.csv", "--out", "m").exit_code == 0
    words = ("predict", "m", "t.csv", "--memory", "1M")
    assert "--json needs --out" in _fails(*words, "--json", status=2)
    assert ".npz is not written by blocks" in _fails(*words, "--out", "p.npz", status=2)


def test_errors_are_one_line():
    frame = _frame().drop(columns="w")
    frame.to_parquet("t.parquet")
    blocks = ("--memory", "8K")
    assert "no column 'king'" in _fails("fit", "t.parquet", *blocks, "--target", "king")
    assert "holds numbers with fractions" in _fails("fit", "t.parquet", *blocks, "--drop", "kind")
    assert "does not exist" in _fails("fit", "no.parquet", *blocks)
    Path("t.csv").write_text("a,kind\n1,ant\n")
    assert "of several formats" in _fails("fit", "t.parquet", "t.csv")
    frame.loc[300, "f2"] = np.nan
    frame.to_parquet("gap.parquet")
    line = _fails("fit", "gap.parquet", *blocks, "--out", "m")
    assert "gap.parquet" in line
    assert "row 301" in line
    assert _run("fit", "t.parquet", "--out", "m").exit_code == 0
    Path("p.csv").write_text("before")
    assert "row 301" in _fails("predict", "m", "gap.parquet", *blocks, "--out", "p.csv")
    frame.drop(columns="f0").to_parquet("narrow.parquet")
    assert "lacks features of the model: f0" in _fails("predict", "m", "narrow.parquet", *blocks)


def test_a_cache_is_kept_and_used():
    _frame().drop(columns="w").to_csv("t.csv", index=False)
    first = _json("fit", "t.csv", "--memory", "20K", "--cache", "kept")
    (place,) = Path("kept").iterdir()
    made = place.stat().st_mtime_ns
    again = _json("fit", "t.csv", "--memory", "20K", "--cache", "kept")
    assert again["objective"] == first["objective"]
    assert place.stat().st_mtime_ns == made


def test_the_line_says_how_far_and_how_fast(monkeypatch):
    from fastsoftmax import open_rows
    from fastsoftmax.cli.console import Progress
    from fastsoftmax.cli.reading import Meter
    from fastsoftmax.contracts import Record

    _frame().drop(columns="w").to_parquet("t.parquet")
    rows = open_rows("t.parquet", target="kind", memory="20K")
    said = []
    progress = Progress()
    monkeypatch.setattr(progress, "say_seldom", said.append)
    meter = Meter(progress).of(rows)
    rows.look(meter.look)
    assert f" of {files.N} rows" in said[-1]
    assert "a cache of" in said[-1]
    meter.record(Record(1.0, 0.5, 0.1, 0.25, 3))
    sum(1 for _ in rows.read())
    text = meter._text("fitting")
    assert "reading 3 (0%)" in text
    assert "gap 2.50e-01" in text
    assert "/s" in text
