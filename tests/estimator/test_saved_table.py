"""What a model file keeps of the file that its rows came from."""

from __future__ import annotations

import numpy as np
import pytest

import fastsoftmax
from fastsoftmax import SoftmaxRegression
from fastsoftmax.persistence import container

X = np.arange(12.0).reshape(6, 2)
Y = np.array(["a"] * 3 + ["b"] * 3)
TABLE = {"target": "kind", "left_out": [2], "index_base": 1}


@pytest.fixture
def path(tmp_path):
    model = SoftmaxRegression().fit(X, Y)
    model._table = TABLE
    model.save(tmp_path / "m")
    return tmp_path / "m"


def test_it_stays_through_loading_and_saving(path, tmp_path):
    assert container.load(path)[1]["table"] == TABLE
    fastsoftmax.load(path).save(tmp_path / "again")
    assert container.load(tmp_path / "again")[1]["table"] == TABLE


def test_it_is_not_that_of_other_rows(path, tmp_path):
    fastsoftmax.load(path).fit(X, Y).save(tmp_path / "again")
    assert "table" not in container.load(tmp_path / "again")[1]


def test_files_from_before_have_none(path):
    arrays, header = container.load(path)
    del header["table"]
    container.save(path, arrays, header)
    np.testing.assert_array_equal(fastsoftmax.load(path).predict(X), Y)


@pytest.mark.parametrize(
    "table",
    [
        {"target": 1},
        {"left_out": "01"},
        {"left_out": [-1]},
        {"left_out": [True]},
        {"left_out": [0.5]},
        {"index_base": 2},
        {"index_base": "1"},
        ["target"],
        "target",
    ],
)
def test_anything_else_under_its_name_is_refused(path, table):
    arrays, header = container.load(path)
    header["table"] = table
    container.save(path, arrays, header)
    with pytest.raises(ValueError, match="holds no SoftmaxRegression"):
        fastsoftmax.load(path)


def test_load(path):
    model = fastsoftmax.load(path)
    assert type(model) is SoftmaxRegression
    np.testing.assert_array_equal(model.predict(X), Y)
    with pytest.raises(FileNotFoundError, match="'nowhere' does not exist"):
        fastsoftmax.load("nowhere")
    assert "load" in fastsoftmax.__all__
