"""Law: a matrix of labels says what its classes are, and is refused with what to do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fastsoftmax import SoftmaxObjective, SoftmaxRegression
from tests.problems import dataset, multilabel

NAMES = ["oats", "barley", "wheat"]  # not sorted


class Frame:
    """A frame of another library: names that are plain strings, and numbers."""

    def __init__(self, values, columns):
        self._values, self.columns, self.shape = values, list(columns), values.shape

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self._values, dtype=dtype)

    def __len__(self):
        return len(self._values)


def soft(k=3):
    X, y = dataset("iris")
    X, y = (X, y) if k == 3 else (X[y < k], y[y < k])
    return X, 0.8 * np.eye(k)[y] + 0.2 / k


@pytest.mark.parametrize("frame", [pd.DataFrame, Frame])
@pytest.mark.parametrize("k", [2, 3])
def test_columns_name_the_classes(frame, k, tmp_path):
    X, target = soft(k)
    names = np.array(NAMES[:k])
    plain, model = SoftmaxRegression().fit(X, target), SoftmaxRegression()
    model.fit(X, frame(target, columns=names))
    assert model.classes_.dtype.kind == "U"
    np.testing.assert_array_equal(model.classes_, names)
    np.testing.assert_array_equal(model.coef_, plain.coef_)
    np.testing.assert_array_equal(model.predict(X), names[plain.predict(X)])
    np.testing.assert_array_equal(model.predict_proba(X), plain.predict_proba(X))
    np.testing.assert_array_equal(model.predict_top_k(X, k)[0], names[plain.predict_top_k(X, k)[0]])
    assert model.score(X, names[target.argmax(axis=1)]) == plain.score(X, target.argmax(axis=1))
    model.save(tmp_path / "m")
    again = SoftmaxRegression.load(tmp_path / "m")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_labels_that_do_not_exclude_each_other_have_names():
    X, y = multilabel()
    model = SoftmaxRegression(loss="sigmoid").fit(X, pd.DataFrame(y, columns=NAMES))
    assert model.classes_.tolist() == NAMES
    np.testing.assert_array_equal(model.predict(X), SoftmaxRegression(loss="sigmoid").fit(X, y).predict(X))


def test_other_columns_are_counted():
    X, target = soft()
    for columns in ([3, 5, 9], ["a", "b", 3], None):
        model = SoftmaxRegression().fit(X, pd.DataFrame(target, columns=columns))
        assert model.classes_.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r"different names; got \['a', 'b', 'a'\]"):
        SoftmaxRegression().fit(X, pd.DataFrame(target, columns=list("aba")))
    one = SoftmaxRegression().fit(X, pd.DataFrame({"kind": dataset("iris")[1]}).to_numpy().ravel())
    assert one.classes_.tolist() == [0, 1, 2]


def test_batches_go_by_name():
    X, target = soft()
    frame = pd.DataFrame(target, columns=NAMES)
    parts = [slice(i, None, 2) for i in (0, 1)]
    model = SoftmaxRegression().fit(X[parts[0]], frame[parts[0]])
    model.partial_fit(X[parts[1]], frame[parts[1]][["wheat", "oats", "barley"]], classes=NAMES)
    plain = SoftmaxRegression().fit(X[parts[0]], target[parts[0]]).partial_fit(X[parts[1]], target[parts[1]])
    assert model.classes_.tolist() == NAMES
    np.testing.assert_array_equal(model.coef_, plain.coef_)
    first = SoftmaxRegression().partial_fit(X, frame, classes=NAMES)
    assert first.classes_.tolist() == sorted(NAMES)
    assert (first.predict(X) == np.array(NAMES)[target.argmax(axis=1)]).mean() > 0.9
    with pytest.raises(ValueError, match=r"y has the columns .*'rye'.* the classes are .*'wheat'"):
        model.partial_fit(X, frame.rename(columns={"wheat": "rye"}))
    with pytest.raises(ValueError, match="y has 2 columns; there are 3 classes"):
        model.partial_fit(X, target[:, :2])


@pytest.mark.parametrize("dtype", [int, float, bool])
def test_many_labels_a_row_name_the_loss(dtype):
    X, y = multilabel()
    first = int(np.flatnonzero(y.sum(axis=1) != 1)[0])
    y = y.copy()
    y[:first] = np.eye(3)[0]
    for fit in (SoftmaxRegression().fit, SoftmaxObjective):
        with pytest.raises(ValueError, match=r'row .* sums to .*labels that do not .*loss="sigmoid"'):
            fit(X, y.astype(dtype))
    with pytest.raises(ValueError, match=r"row 2 sums to 0\.9$"):
        SoftmaxRegression().fit(X, np.where(np.arange(len(X))[:, None] == 2, 0.3, 1 / 3) * np.ones(3))
