"""Law: a calibrated classifier has the most likely map of its logits, and scikit-learn's ways."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.optimize
from scipy.special import log_softmax
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import cross_val_score

from fastsoftmax import CalibratedClassifier, SoftmaxRegression, load
from fastsoftmax.persistence import container
from tests.problems import dataset


def held_out(n_classes=3):
    """A model that is too sure of itself, rows that it has not seen, their labels as text, and weights."""
    X, y = dataset("iris")
    X, y = X[y >= 3 - n_classes, :3], np.array(["setosa", "versicolor", "virginica"])[y[y >= 3 - n_classes]]
    X = X + np.random.default_rng(0).normal(size=X.shape)
    return SoftmaxRegression(C=100.0).fit(X[::3], y[::3]), X[1::3], y[1::3], np.arange(len(y[1::3])) % 3 + 1.0


def best(model, X, y, weight, method, C=np.inf):
    """The map of logits (coef, intercept) that SciPy finds."""
    z = np.reshape(model.decision_function(X), (len(X), -1))
    z = z - z.mean(axis=1, keepdims=True) if z.shape[1] > 1 else np.hstack((0 * z, z))
    codes = np.searchsorted(model.classes_, y)
    K = z.shape[1]

    def parts(v):
        if method == "temperature":
            return v[0] * np.eye(K), np.zeros(K)
        if method == "vector":
            return (np.diag(v[:K]), v[K:]) if K > 2 else (np.diag([0, v[0]]), np.array([0, v[1]]))
        return v[: K * K].reshape(K, K), v[K * K :]

    def loss(v):
        A, b = parts(v)
        logs = log_softmax(z @ A.T + b, axis=1)[np.arange(len(y)), codes]
        return -weight @ logs / weight.sum() + (A**2).sum() / (2 * C * weight.sum())

    size = {"temperature": 1, "vector": 2 * K if K > 2 else 2, "matrix": K * K + K}[method]
    found = scipy.optimize.minimize(loss, np.zeros(size) + 0.1, method="BFGS", options={"gtol": 1e-9})
    return parts(found.x), found.fun, log_softmax(z @ parts(found.x)[0].T + parts(found.x)[1], axis=1)


@pytest.mark.parametrize("method", ["temperature", "vector", "matrix"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_map_is_the_most_likely_one(method, n_classes):
    model, X, y, weight = held_out(n_classes)
    C = 2.0 if method == "matrix" and n_classes > 2 else np.inf
    found = model.calibrate(X, y, weight, method=method, C=C)
    (coef, _), _, logs = best(
        model, X, y, weight, "vector" if n_classes == 2 and method == "matrix" else method, C
    )
    np.testing.assert_allclose(found.predict_log_proba(X), logs, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.predict_proba(X).sum(axis=1), 1.0)
    if method == "temperature":
        np.testing.assert_allclose(found.temperature_, 1 / coef[-1, -1], rtol=1e-4)
        assert found.temperature_ > 1.0
        np.testing.assert_array_equal(found.predict(X), model.predict(X))
    else:
        assert not hasattr(found, "temperature_")
    np.testing.assert_array_equal(found.predict(X), found.classes_[found.predict_proba(X).argmax(axis=1)])
    shape = model.decision_function(X).shape
    assert found.decision_function(X).shape == shape


def test_it_is_an_estimator():
    model, X, y, _ = held_out()
    before = model.coef_.copy()
    found = model.calibrate(X, y)
    again = clone(found)  # the model inside stays as it is
    with pytest.raises(NotFittedError):
        again.predict(X)
    np.testing.assert_array_equal(again.fit(X, y).predict_proba(X), found.predict_proba(X))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(found)).predict(X), found.predict(X))
    np.testing.assert_array_equal(model.coef_, before)
    assert found.n_features_in_ == 3
    assert cross_val_score(found, X, y, cv=2).shape == (2,)
    assert found.set_params(method="vector").fit(X, y).intercept_.any()
    with pytest.raises(ValueError, match="must be one of"):
        found.set_params(method="isotonic").fit(X, y)
    assert found.intercept_.any()  # that of before


def test_classifiers_that_have_no_logits():
    _, X, y, _ = held_out()
    forest = RandomForestClassifier(20, random_state=0).fit(X[::2], y[::2])
    found = CalibratedClassifier(FrozenEstimator(forest)).fit(X[1::2], y[1::2])

    def loss(proba):
        return -np.log(
            proba[np.arange(len(proba)), np.searchsorted(forest.classes_, y[1::2])] + 1e-300
        ).mean()

    assert loss(found.predict_proba(X[1::2])) < loss(forest.predict_proba(X[1::2]))


def test_what_cannot_be_calibrated_is_refused():
    model, X, y, _ = held_out()
    with pytest.raises(ValueError, match="not among the classes"):
        model.calibrate(X, np.where(y == "setosa", "rose", y))
    with pytest.raises(ValueError, match=r"class 'setosa' has no row here"):
        model.calibrate(X[y != "setosa"], y[y != "setosa"], method="vector")
    model.calibrate(X[y != "setosa"], y[y != "setosa"])
    with pytest.raises(ValueError, match="C must be positive"):
        model.calibrate(X, y, method="matrix", C=0.0)
    opposite, X, y, _ = held_out(2)
    opposite.coef_ = -opposite.coef_
    with pytest.raises(ValueError, match="do not tell of these labels"):
        opposite.calibrate(X, y)
    labels = np.column_stack((y == "virginica", X[:, 0] > 0)).astype(float)
    several = SoftmaxRegression(loss="sigmoid").fit(X, labels)
    with pytest.raises(ValueError, match="exclude each other"):
        several.calibrate(X, y)
    with pytest.raises(NotFittedError):
        SoftmaxRegression().calibrate(X, y)


@pytest.mark.parametrize(("method", "n_classes"), [("temperature", 3), ("vector", 2)])
def test_a_file_gives_the_same_classifier_back(method, n_classes, tmp_path):
    model, X, y, weight = held_out(n_classes)
    found = model.calibrate(X, y, weight, method=method)
    found.save(tmp_path / "calibrated")
    for again in (load(tmp_path / "calibrated"), CalibratedClassifier.load(tmp_path / "calibrated")):
        assert type(again) is CalibratedClassifier
        assert again.get_params(deep=False).keys() == found.get_params(deep=False).keys()
        assert (again.method, again.C, again.n_features_in_) == (method, np.inf, 3)
        assert getattr(again, "temperature_", None) == getattr(found, "temperature_", None)
        np.testing.assert_array_equal(again.classes_, found.classes_)
        np.testing.assert_array_equal(again.predict_proba(X), found.predict_proba(X))
        np.testing.assert_array_equal(clone(again).fit(X, y, weight).coef_, found.coef_)


def test_files_of_another_kind_are_refused(tmp_path):
    model, X, y, _ = held_out()
    model.save(tmp_path / "model")
    found = model.calibrate(X, y)
    found.save(tmp_path / "calibrated")
    assert type(load(tmp_path / "model")) is SoftmaxRegression
    with pytest.raises(ValueError, match=r"holds no SoftmaxRegression: read it with `fastsoftmax\.load`"):
        SoftmaxRegression.load(tmp_path / "calibrated")
    with pytest.raises(ValueError, match=r"holds no CalibratedClassifier: read it with `fastsoftmax\.load`"):
        CalibratedClassifier.load(tmp_path / "model")
    arrays, header = container.load(tmp_path / "calibrated")
    container.save(tmp_path / "other", {**arrays, "coef": np.eye(2)}, header)
    with pytest.raises(ValueError, match=r"holds no CalibratedClassifier: .*a map of another number"):
        load(tmp_path / "other")
    forest = RandomForestClassifier(20, random_state=0).fit(X[::2], y[::2])
    with pytest.raises(TypeError, match="inside is a RandomForestClassifier"):
        CalibratedClassifier(FrozenEstimator(forest)).fit(X[1::2], y[1::2]).save(tmp_path / "forest")
    with pytest.raises(NotFittedError):
        clone(found).save(tmp_path / "unfitted")
