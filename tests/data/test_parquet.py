"""Parquet files: each column keeps its type, and missing values are named by column and row."""

from __future__ import annotations

import numpy as np
import pandas
import pytest

from fastsoftmax.data.readers import Expected, Request, read

pytest.importorskip("pyarrow", reason="pyarrow is not installed")

X = np.array([[0.5, 1.25], [3.5, 0.75], [0.25, 0.5], [7.5, -1.5]])


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _written(**columns):
    frame = pandas.DataFrame(X, columns=["a", "b"]).assign(**columns)
    frame.to_parquet("t.parquet")
    return "t.parquet"


def test_labels_that_are_missing():
    with pytest.raises(ValueError, match="column 'kind' has 1 empty cells, the first in data row 2"):
        read(_written(kind=["x", None, "NA", "y"]))
    table = read("t.parquet", Request(drop_missing=True))
    assert table.y.tolist() == ["x", "NA", "y"]
    np.testing.assert_array_equal(table.X, X[[0, 2, 3]])


def test_columns_go_by_name():
    model = Expected(2, ("b", "a"), "kind", text_labels=True)
    table = read(_written(kind=[1, 2, 1, 2], town=list("uvuv")), Request(model=model))
    np.testing.assert_array_equal(table.X, X[:, ::-1])
    assert table.y.tolist() == ["1", "2", "1", "2"]
    assert table.notes == (
        "the columns are in another order than the model's: taken by their names",
        "left out, as the model has no such features: town",
    )


@pytest.mark.parametrize("kind", [["0111", "111"], ["1e3", "1000"], [True, False], [3, 5]])
def test_labels_keep_their_type(kind):
    assert read(_written(kind=kind * 2)).y.tolist() == kind * 2


def test_columns_that_are_no_numbers():
    with pytest.raises(ValueError, match="feature column 'day' does not hold numbers"):
        read(_written(day=pandas.Timestamp("2020-01-01"), kind=[0, 1, 0, 1]))
    with pytest.raises(ValueError, match="feature column 'town' does not hold numbers"):
        read(_written(town=pandas.Categorical(list("uvuv")), kind=[0, 1, 0, 1]))


def test_an_index_that_pandas_kept_is_no_feature():
    pandas.DataFrame(X, columns=["a", "b"], index=[7, 3, 9, 1]).assign(kind=[0, 1, 0, 1]).to_parquet(
        "t.parquet"
    )
    table = read("t.parquet")
    assert table.feature_names == ("a", "b")
    frame = pandas.DataFrame({"a": [1, 2, None]}, index=[5, 5, 5]).assign(kind=[0, 1, 0])
    frame.to_parquet("t.parquet")
    with pytest.raises(ValueError, match="data row 3"):
        read("t.parquet")
