"""Law: one against rest is the binary model of each class, all of them from one minimisation."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.special import expit, log_expit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from fastsoftmax import SoftmaxRegression
from tests import naive
from tests.problems import reference

N, D, K = 203, 7, 4
NAMES = np.array(["aa", "b", "c", "d"])
# of coefficients, whose error is the root of that of F at tol = 1e-12, and of their probabilities
ATOL = 3e-6


def draw(storage="dense"):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(N, D))
    y = NAMES[(X[:, :K] + rng.gumbel(size=(N, K)) + [1.0, 0.0, 0.0, -1.0]).argmax(axis=1)]
    weight = rng.integers(0, 4, N).astype(np.float64)
    sparse = np.where(X > 0, X, 0.0)
    rows = {"dense": X, "fortran": np.asfortranarray(X), "csr": sp.csr_array(sparse)}
    return rows[storage], y, weight


def ovr(**options):
    return SoftmaxRegression(**{"multi_class": "ovr", "tol": 1e-12} | options)


def separately(X, y, weight=None, **options):
    """scikit-learn's binary model of each class: coefficients (K, d) and intercepts (K,)."""
    models = [reference(X, y == name, weight, **options) for name in NAMES]
    return np.concatenate([m.coef_ for m in models]), np.concatenate([m.intercept_ for m in models])


@pytest.mark.parametrize("storage", ["dense", "fortran", "csr"])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_one_vs_rest_classifier(storage, class_weight):
    X, y, _ = draw(storage)
    ours = ovr(C=0.7, class_weight=class_weight).fit(X, y)
    binary = LogisticRegression(C=0.7, tol=1e-10, max_iter=10_000, class_weight=class_weight)
    theirs = OneVsRestClassifier(binary).fit(X, y)
    np.testing.assert_allclose(
        ours.coef_, np.concatenate([m.coef_ for m in theirs.estimators_]), rtol=0, atol=ATOL
    )
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    for method in ("predict_proba", "decision_function"):
        a, b = getattr(ours, method)(X), getattr(theirs, method)(X)
        np.testing.assert_allclose(a, b, rtol=0, atol=ATOL * D)
    np.testing.assert_allclose(ours.predict_log_proba(X), np.log(ours.predict_proba(X)), atol=1e-12)
    assert ours.duality_gap_ <= 1e-12 * ours.objective_


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("class_weight", [None, {"aa": 3.0, "c": 0.5}, "balanced"])
def test_row_weights(class_weight, fit_intercept):
    X, y, weight = draw()
    ours = ovr(class_weight=class_weight, fit_intercept=fit_intercept).fit(X, y, weight)
    by_class = "balanced" if class_weight == "balanced" else None
    if isinstance(class_weight, dict):
        weight = weight * [class_weight.get(name, 1.0) for name in y]
    coef, intercept = separately(X, y, weight, class_weight=by_class, fit_intercept=fit_intercept)
    np.testing.assert_allclose(ours.coef_, coef, rtol=0, atol=ATOL)
    np.testing.assert_allclose(ours.intercept_, intercept, rtol=0, atol=ATOL)


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_the_objective_is_the_sum_of_the_problems(class_weight):
    X, y, _ = draw()
    C = 0.3
    model = ovr(C=C, class_weight=class_weight).fit(X, y)
    if class_weight is None:
        members = (y[:, np.newaxis] == NAMES).astype(float).tolist()
        parameters = model.coef_.tolist(), model.intercept_.tolist()
        found = naive.objective(X.tolist(), members, *parameters, l2=1 / (C * N), loss="sigmoid")[0]
    else:
        found = sum(
            SoftmaxRegression(C=C, class_weight="balanced", tol=1e-12).fit(X, y == name).objective_
            for name in NAMES
        )
    assert model.objective_ == pytest.approx(found, rel=1e-11)
    assert [record.objective for record in model.history_][-1] == pytest.approx(found, rel=1e-11)
    assert model.n_iter_.shape == (1,)


def test_two_classes_are_the_binary_model():
    X, y, _ = draw()
    two = y == "aa"
    for class_weight in (None, "balanced"):
        a = SoftmaxRegression(multi_class="ovr", class_weight=class_weight).fit(X, two)
        b = SoftmaxRegression(class_weight=class_weight).fit(X, two)
        np.testing.assert_array_equal(a.coef_, b.coef_)
        np.testing.assert_array_equal(a.classes_, b.classes_)
        np.testing.assert_array_equal(a.predict_proba(X), b.predict_proba(X))


def test_the_default_is_multinomial():
    X, y, _ = draw()
    a, b = SoftmaxRegression(multi_class="multinomial").fit(X, y), SoftmaxRegression().fit(X, y)
    np.testing.assert_array_equal(a.coef_, b.coef_)
    assert not np.allclose(a.coef_, ovr().fit(X, y).coef_, atol=1e-2)


@pytest.mark.parametrize("storage", ["dense", "csr"])
@pytest.mark.parametrize("k", [1, 2, K])
def test_top_k(storage, k):
    X, y, _ = draw(storage)
    model = ovr().fit(X, y)
    proba = model.predict_proba(X)
    order = np.argsort(-proba, axis=1, kind="stable")[:, :k]
    classes, top = model.predict_top_k(X, k)
    np.testing.assert_array_equal(classes, NAMES[order])
    np.testing.assert_array_equal(top, np.take_along_axis(proba, order, axis=1))


def test_sigmoids_that_all_underflow_have_the_limit_of_their_ratio():
    X, y, _ = draw()
    model = ovr().fit(X, y)
    rows = 1e4 * X
    rows[0] = np.linalg.lstsq(model.coef_, np.full(K, -1e4), rcond=None)[0]
    z = model.decision_function(rows)
    assert (expit(z[0]) == 0).all()
    np.testing.assert_allclose(model.predict_proba(rows), softmax(log_expit(z), axis=1), atol=1e-9)
    np.testing.assert_allclose(model.predict_proba(rows).sum(axis=1), 1.0, atol=1e-12)
    assert np.isfinite(model.predict_log_proba(rows)).all()


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_files_keep_what_kind_it_is(class_weight, tmp_path):
    X, y, _ = draw()
    model = ovr(class_weight=class_weight).fit(X, y)
    model.save(tmp_path / "m")
    again = SoftmaxRegression.load(tmp_path / "m")
    assert again.multi_class == "ovr"
    for method in ("predict", "predict_proba", "decision_function"):
        np.testing.assert_array_equal(getattr(again, method)(X), getattr(model, method)(X))
    for one in (again, model):
        one.partial_fit(X[1::2], y[1::2])
    np.testing.assert_array_equal(again.coef_, model.coef_)


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_paths_and_many_fits(class_weight):
    X, y, weight = draw()
    Cs = [10.0, 0.1, 1.0]
    path = ovr(class_weight=class_weight).fit_path(X, y, Cs, weight)
    many = ovr(class_weight=class_weight, tol=1e-9).fit_many(X, y, np.stack([weight] * 3), Cs=Cs)
    assert many.converged_.all()
    for C, point, one in zip(Cs, path, many, strict=True):
        fitted = ovr(C=C, class_weight=class_weight).fit(X, y, weight)
        assert point.C == one.C == C
        np.testing.assert_allclose(point.coef_, fitted.coef_, atol=ATOL)
        assert one.objective_ == pytest.approx(fitted.objective_, rel=2e-9)
        np.testing.assert_allclose(one.predict_proba(X), fitted.predict_proba(X), atol=1e-3)
        np.testing.assert_array_equal(one.classes_, NAMES)


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_batches_are_fitted_one_after_the_other(class_weight):
    X, y, _ = draw()
    model = ovr(class_weight=class_weight).partial_fit(X[::2], y[::2], classes=NAMES)
    first = ovr(class_weight=class_weight).fit(X[::2], y[::2])
    np.testing.assert_allclose(model.coef_, first.coef_, atol=ATOL)
    each = [
        SoftmaxRegression(tol=1e-12, class_weight=class_weight)
        .partial_fit(X[::2], y[::2] == name, classes=[False, True])
        .partial_fit(X[1::2], y[1::2] == name)
        for name in NAMES
    ]
    for one in (model, first):
        one.partial_fit(X[1::2], y[1::2])
        np.testing.assert_allclose(one.coef_, np.concatenate([part.coef_ for part in each]), atol=2 * ATOL)
        np.testing.assert_allclose(
            one.intercept_, np.concatenate([p.intercept_ for p in each]), atol=2 * ATOL
        )
    with pytest.raises(ValueError, match="not among the classes"):
        model.partial_fit(X[:3], ["b", "c", "z"])


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_a_warm_start_is_there_at_once(class_weight):
    X, y, _ = draw()
    model = ovr(class_weight=class_weight, warm_start=True, tol=1e-8).fit(X, y)
    assert model.n_iter_[0] > 1
    assert model.fit(X, y).n_iter_[0] == 0
    other = model.fit(X[:, :3], y)  # another number of features: from zero
    np.testing.assert_allclose(other.coef_, ovr(class_weight=class_weight).fit(X[:, :3], y).coef_, atol=1e-3)


def test_a_killed_fit_goes_on(tmp_path):
    X, y, _ = draw()
    path = tmp_path / "state"
    model = ovr(checkpoint=path).fit(X, y)
    np.testing.assert_array_equal(model.coef_, ovr().fit(X, y).coef_)
    assert not path.exists()
    with pytest.raises(ValueError, match="checkpoint is the state of one minimisation"):
        ovr(checkpoint=path, class_weight="balanced").fit(X, y)


def test_probabilities_as_targets():
    X, y, _ = draw()
    soft = 0.8 * (y[:, np.newaxis] == NAMES) + 0.2 / K
    model = ovr().fit(X, soft)
    each = [SoftmaxRegression(tol=1e-12).fit(X, np.column_stack((1 - t, t))).coef_ for t in soft.T]
    np.testing.assert_allclose(model.coef_, np.concatenate(each), atol=ATOL)
    with pytest.raises(ValueError, match="class_weight goes with labels"):
        ovr(class_weight="balanced").fit(X, soft)
    several = (soft > 0.5).astype(float)
    a, b = (
        SoftmaxRegression(loss="sigmoid", multi_class=kind).fit(X, several) for kind in ("ovr", "multinomial")
    )
    np.testing.assert_array_equal(a.predict_proba(X), b.predict_proba(X))


def test_liblinears_intercept():
    """What solver "liblinear" did of more than two classes until scikit-learn 1.8."""
    X, y, _ = draw()
    ours = ovr(solver="liblinear", intercept_scaling=2.0).fit(X, y)
    binary = LogisticRegression(solver="liblinear", intercept_scaling=2.0, tol=1e-12, max_iter=10_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = OneVsRestClassifier(binary).fit(X, y)
    np.testing.assert_allclose(
        ours.coef_, np.concatenate([m.coef_ for m in theirs.estimators_]), rtol=0, atol=ATOL
    )
    np.testing.assert_allclose(
        ours.intercept_, np.concatenate([m.intercept_ for m in theirs.estimators_]), rtol=0, atol=ATOL
    )
    ours.partial_fit(X[:40], y[:40])
    each = SoftmaxRegression(solver="liblinear", intercept_scaling=2.0, tol=1e-12).fit(X, y == "b")
    np.testing.assert_allclose(ours.coef_[1:2], each.partial_fit(X[:40], y[:40] == "b").coef_, atol=ATOL)


def test_a_class_without_weight_is_not_predicted():
    X, y, _ = draw()
    weight = (y != "b").astype(float)
    model = ovr().fit(X, y, weight)
    assert (model.predict_proba(X)[:, 1] == 0).all()
    np.testing.assert_allclose(model.coef_[[0, 2, 3]], ovr().fit(X[y != "b"], y[y != "b"]).coef_, atol=ATOL)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8])
def test_narrow_rows(dtype):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 9, (N, D)).astype(dtype)
    y = NAMES[(X[:, :K] / 2.0 + rng.gumbel(size=(N, K))).argmax(axis=1)]
    model = SoftmaxRegression(multi_class="ovr").fit(X, y)
    exact = ovr().fit(X.astype(np.float64), y)
    assert model.objective_ == pytest.approx(exact.objective_, rel=2e-6)
    assert model.predict_proba(X).dtype == np.float32
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0, atol=1e-6)


def test_a_failed_fit_leaves_the_last_one():
    X, y, _ = draw()
    model = ovr(class_weight="balanced").fit(X, y)
    before = dict(model.__dict__)
    with pytest.raises(ValueError, match="NaN"):
        model.fit(np.where(X > 2, np.nan, X), y)
    assert model.__dict__ == before
