"""What is said of inputs that are refused: the column, the row, and what stands there."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
import scipy.sparse

from fastsoftmax import SoftmaxRegression
from fastsoftmax.data.places import first_bad

X = np.arange(12.0).reshape(6, 2)
Y = np.array(["a", "b"] * 3)


def _refuses(match, X=X, y=Y, error=ValueError, **parameters):
    with pytest.raises(error, match=match) as caught:
        SoftmaxRegression(**parameters).fit(X, y)
    assert "np." not in str(caught.value)
    return str(caught.value)


def _frame(**columns):
    return pandas.DataFrame({"a": np.arange(6.0), **columns})


@pytest.mark.parametrize("missing", [None, np.nan, pandas.NA, pandas.NaT])
@pytest.mark.parametrize("kind", [list, lambda y: np.array(y, dtype=object)])
def test_labels_that_are_missing(missing, kind):
    _refuses(r"the label of row 3 \(the first is 0\) is", y=kind(["a", "b", "a", missing, "b", "a"]))


def test_numbers_that_are_missing_among_labels():
    _refuses("Input y contains NaN: the label of row 2", y=[0.0, 1.0, np.nan, 0.0, 1.0, 1.0])
    _refuses(
        "Input y contains NaN: the label of row 2", y=pandas.Series([0, 1, None, 0, 1, 1], dtype="Int64")
    )


def test_labels_of_two_kinds():
    said = _refuses("rows 0 and 2", y=np.array(["a", "b", 1, "a", "b", "a"], dtype=object), error=TypeError)
    assert "have 'a' and 1; make it text: y.astype(str)" in said


def test_one_class_is_shown_as_python_writes_it():
    assert _refuses("only one class: 'a'$", y=np.array(["a"] * 6))
    _refuses("only one class: 'a'$", y=np.array([np.str_("a")] * 6, dtype=object))
    assert _refuses("only one class: 7$", y=np.full(6, 7))


def test_labels_that_are_not_among_the_classes():
    with pytest.raises(ValueError, match=r"not among the classes: \['b'\]$"):
        SoftmaxRegression().partial_fit(X, Y, classes=["a", "c"])


@pytest.mark.parametrize("kind", [list, pandas.Categorical])
def test_text_columns(kind):
    said = _refuses("column 'town' is 'u' in row 0", _frame(town=kind(list("uvuvuv"))))
    assert "make_column_transformer((OneHotEncoder(), ['town']), remainder='passthrough')" in said


def test_single_cells_of_a_frame():
    said = _refuses(r"column 'b' is '\?' in row 2 \(the first is 0\)$", _frame(b=list("12?456")))
    assert "encode" not in said
    _refuses("Input X contains NaN: column 'b' is nan in row 4", _frame(b=[1, 2, 3, 4, np.nan, 6]))


def test_single_cells_of_an_array():
    _refuses(r"Input X contains NaN: X\[2, 1\] is nan", np.where(X == 5, np.nan, X))
    _refuses(r"contains infinity.*: X\[0, 1\] is -inf", np.where(X == 1, -np.inf, X))
    _refuses(r"X\[1, 0\] is nan", scipy.sparse.csr_array(np.where(X == 2, np.nan, X)))
    _refuses(r"X\[0, 1\] is 'x'", np.array([[1, "x"]] * 6, dtype=object))


def test_the_first_bad_cell_in_any_block():
    wide = np.zeros((2**10, 2**9))
    wide[-1, 3] = np.nan
    assert first_bad(wide) == "X[1023, 3] is nan"
    assert first_bad(X) is None
    assert first_bad(_frame()) is None
    assert first_bad(object()) is None


def test_what_the_lines_of_advice_do():
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    frame = _frame(town=list("uvuvuv"))
    encode = make_column_transformer((OneHotEncoder(), ["town"]), remainder="passthrough")
    assert make_pipeline(encode, SoftmaxRegression()).fit(frame, Y).score(frame, Y) == 1


def test_numbers_of_numpy_are_shown_as_python_writes_them():
    model = SoftmaxRegression().fit(X, Y)
    with pytest.raises(ValueError, match=r"from 1 to 2; got 9$"):
        model.predict_top_k(X, np.int64(9))
    with pytest.raises(ValueError, match=r"positive numbers; got \[1.0, -1.0\]$"):
        model.fit_path(X, Y, [np.float64(1), np.float64(-1)])
