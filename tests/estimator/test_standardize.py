"""Law: standardize=True ends at the certified optimum of features standardised beforehand, for X as it is."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastsoftmax import SoftmaxRegression, SoftmaxRegressionCV, rows_from
from fastsoftmax.objective import direct, row_space
from fastsoftmax.persistence import checkpoint
from tests.problems import dataset

N, D = 240, 7
FAR = 4  # a column of this mean in ten thousand deviations


def problem(n_classes, *, far=False, kind="labels"):
    """Rows whose units differ by 10⁶, with a constant column, zeros, and perhaps a column far from zero."""
    rng = np.random.default_rng(n_classes)
    Z = np.where(rng.random((N, D)) < 0.6, rng.normal(size=(N, D)), 0.0)
    logits = 2.0 * Z @ rng.normal(size=(D, n_classes))
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    Z[:, 2] = 5.0
    Z[:, FAR] += 1e4 * far
    if kind == "soft":
        y = rng.dirichlet(np.ones(n_classes), N)
    if kind == "multilabel":
        y = (logits > 1.0).astype(float)
    return Z * np.logspace(-3, 3, D), y, rng.integers(0, 4, N).astype(float)


def beforehand(X, y, w=None, *, with_mean=True, **options):
    """The model of standardised rows, its coefficients for X as it is, and the scaler."""
    scaler = StandardScaler(with_mean=with_mean).fit(np.asarray(X, float), sample_weight=w)
    model = SoftmaxRegression(tol=1e-10, fit_intercept=with_mean, **options)
    model.fit(scaler.transform(np.asarray(X, float)), y, w)
    model.coef_ = model.coef_ / scaler.scale_
    if with_mean:
        model.intercept_ = model.intercept_ - model.coef_ @ scaler.mean_
    return model, scaler.scale_


def assert_same(model, expected, scale, tol=1e-6, atol=2e-3):
    excess = model.objective_ - expected.objective_
    assert -1e-9 <= excess / expected.objective_ <= tol
    assert excess <= model.duality_gap_ + 1e-9 * expected.objective_
    assert model.duality_gap_ <= tol * model.objective_
    np.testing.assert_allclose(model.coef_ * scale, expected.coef_ * scale, atol=atol)


@pytest.mark.parametrize(("n_classes", "dtype", "make"), [
    (2, np.float64, np.array), (4, np.float32, np.array), (4, np.float64, np.asfortranarray),
    (2, np.float32, sp.csr_array), (4, np.float64, sp.csr_array), (4, np.float32, sp.csc_array),
])  # fmt: skip
@pytest.mark.parametrize("small", [True, False])
def test_the_optimum_is_that_of_features_standardised_beforehand(n_classes, dtype, make, small, monkeypatch):
    if not small:
        monkeypatch.setattr(direct, "MAX_SECONDS", 0.0)
    X, y, w = problem(n_classes)
    X = X.astype(dtype)
    expected, scale = beforehand(X, y, w)
    given = make(X)
    model = SoftmaxRegression(standardize=True).fit(given, y, w)
    assert_same(model, expected, scale)
    np.testing.assert_allclose(model.predict_proba(given), expected.predict_proba(X), atol=2e-3)


@pytest.mark.parametrize(("options", "make", "far"), [
    ({"l1_ratio": 1.0}, np.array, False), ({"l1_ratio": 0.5}, sp.csr_array, False),
    ({"l1_ratio": 1.0, "group_classes": True}, np.asfortranarray, False),
    ({"l1_ratio": 1.0}, np.array, True), ({"l1_ratio": 0.7}, sp.csr_array, True),
    ({"l1_ratio": 0.7, "fit_intercept": False}, sp.csr_array, False),
    ({"l1_ratio": 0.5, "penalty_weights": np.arange(1.0, D + 1.0)}, np.array, False),
])  # fmt: skip
def test_a_sparse_model_is_that_of_features_standardised_beforehand(options, make, far):
    X, y, w = problem(4, far=far)
    same = {name: option for name, option in options.items() if name != "fit_intercept"}
    expected, scale = beforehand(X, y, w, C=0.05, with_mean="fit_intercept" not in options, **same)
    tol = 1e-7 if far else 1e-9  # of ten thousand deviations the gap has eight digits
    model = SoftmaxRegression(standardize=True, C=0.05, tol=tol, **options).fit(make(X), y, w)
    assert_same(model, expected, scale, tol=tol, atol=1e-3 if far else 1e-4)
    assert ((model.coef_ != 0.0) == (expected.coef_ != 0.0)).all()
    assert 0 < np.count_nonzero(model.coef_) < model.coef_.size


@pytest.mark.parametrize("options", [
    {"solver": "newton-cg"}, {"solver": "newton-cholesky"}, {"C": 100.0}, {"C": 1e-3},
    {"solver": "lbfgs", "class_weight": "balanced"}, {"multi_class": "ovr"},
    {"multi_class": "ovr", "class_weight": "balanced"},
], ids=str)  # fmt: skip
def test_options_mean_what_they_do_for_standardised_features(options):
    X, y, w = problem(3)
    expected, scale = beforehand(X, y, w, **options)
    assert_same(SoftmaxRegression(standardize=True, **options).fit(X, y, w), expected, scale)


@pytest.mark.parametrize("kind", ["soft", "multilabel"])
def test_matrices_of_labels(kind):
    X, y, w = problem(3, kind=kind)
    options = {"loss": "sigmoid"} if kind == "multilabel" else {}
    expected, scale = beforehand(X, y, w, **options)
    assert_same(SoftmaxRegression(standardize=True, **options).fit(X, y, w), expected, scale)


@pytest.mark.parametrize("make", [np.array, sp.csr_array])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_column_of_a_mean_of_ten_thousand_deviations(make, dtype):
    X, y, w = problem(3, far=True)
    X = X.astype(dtype)
    expected, scale = beforehand(X, y, w)
    model = SoftmaxRegression(standardize=True).fit(make(X), y, w)
    assert_same(model, expected, scale)
    np.testing.assert_allclose(model.predict_proba(X), expected.predict_proba(X), atol=2e-3)


@pytest.mark.parametrize("make", [np.array, sp.csr_array])
def test_without_an_intercept_features_are_only_scaled(make):
    X, y, w = problem(3)
    expected, scale = beforehand(X, y, w, with_mean=False)
    model = SoftmaxRegression(standardize=True, fit_intercept=False).fit(make(X), y, w)
    assert_same(model, expected, scale)
    assert not model.intercept_.any()


@pytest.mark.parametrize("first_on_features", [True, False])
def test_fewer_rows_than_features(first_on_features, monkeypatch):
    monkeypatch.setattr(row_space, "seconds_to_factorise", lambda n, d: 1.0 if first_on_features else 0.0)
    monkeypatch.setattr(direct, "MAX_STEPS", 3)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 500)) * np.logspace(-2, 2, 500)
    y = np.arange(30) % 3
    expected, scale = beforehand(X, y)
    assert_same(SoftmaxRegression(standardize=True).fit(X, y), expected, scale)


@pytest.mark.parametrize("dtype", [np.uint8, np.float16])
def test_narrow_rows(dtype, tmp_path):
    X, y, w = problem(3)
    scaled = 30 * X / X.std(axis=0).clip(1e-9) + 90
    np.save(tmp_path / "X.npy", scaled.clip(0, 255).astype(dtype))
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    expected, scale = beforehand(X, y, w)
    assert_same(SoftmaxRegression(standardize=True).fit(X, y, w), expected, scale)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("make", [np.array, sp.csr_array])
@pytest.mark.parametrize("options", [{"class_weight": "balanced", "C": 100.0}, {"solver": "newton-cg"}])
def test_rows_that_are_read_by_blocks(n_classes, make, options):
    X, y, w = problem(n_classes)
    X, y, w = (np.concatenate((part,) * 4) for part in (X, y, w))
    X[1::2] *= 1.1
    given = make(X)

    def blocks():
        for start in range(0, len(y), 100):
            yield given[start : start + 100], y[start : start + 100], w[start : start + 100]

    rows = rows_from(blocks, memory="32K")
    model = SoftmaxRegression(standardize=True, tol=1e-8, **options).fit(rows)  # for the coefficients
    assert rows.look().kept is None
    assert rows.n_readings == 1 + model.history_[-1].passes
    expected, scale = beforehand(X, y, w, **options)
    assert_same(model, expected, scale)


def test_few_rows_from_elsewhere_are_fitted_as_arrays():
    X, y, w = problem(3)

    def blocks():
        for start in range(0, N, 50):
            yield X[start : start + 50], y[start : start + 50], w[start : start + 50]

    model = SoftmaxRegression(standardize=True).fit(rows_from(blocks))
    assert model.coef_.tobytes() == SoftmaxRegression(standardize=True).fit(X, y, w).coef_.tobytes()


def test_no_penalty_leaves_nothing_to_standardise():
    X, y, w = problem(3)
    X = X[:, [0, 1, 3, 4]]
    expected = SoftmaxRegression(C=np.inf, tol=1e-10).fit(X, y, w)
    model = SoftmaxRegression(C=np.inf, tol=1e-10, standardize=True).fit(X, y, w)
    assert model.objective_ == pytest.approx(expected.objective_, rel=1e-9)
    np.testing.assert_allclose(model.coef_ * X.std(axis=0), expected.coef_ * X.std(axis=0), atol=1e-3)


def test_nothing_is_copied_and_no_sparse_row_is_filled(monkeypatch):
    """X is neither written to nor converted: what kernels read are its own arrays."""
    X, y, w = problem(3)
    X = sp.csr_array(X)
    before = X.copy()
    seen = []
    of_rows = direct.direct.passes
    monkeypatch.setattr(direct.direct, "passes", lambda *a, **k: seen.append(a[1].X) or of_rows(*a, **k))
    SoftmaxRegression(standardize=True).fit(X, y, w)
    assert np.shares_memory(seen[0].data, X.data)
    assert (before != X).nnz == 0


def test_a_path_and_a_warm_start():
    X, y, w = problem(3)
    model = SoftmaxRegression(standardize=True, warm_start=True)
    for point in model.fit_path(X, y, [0.1, 10.0, np.inf], w)[:2]:
        expected, scale = beforehand(X, y, w, C=point.C)
        assert_same(point, expected, scale)
    assert model.fit(X, y, w).n_iter_[0] > 3
    assert model.fit(X, y, w).n_iter_[0] <= 1


@pytest.mark.parametrize("small", [True, False])
def test_each_of_many_fits_has_deviations_by_its_own_weights(small, monkeypatch):
    if not small:
        monkeypatch.setattr(direct, "MAX_SECONDS", 0.0)
    X, y, _ = problem(3)
    X[: N // 2] *= 3.0
    halves = np.repeat(np.eye(2), N // 2, axis=1)
    weights = np.concatenate((halves, np.random.default_rng(0).integers(0, 3, (3, N))))
    fits = SoftmaxRegression(standardize=True).fit_many(X, y, weights)
    assert fits.converged_.all()
    for one, weight in zip(fits, weights, strict=True):
        expected, scale = beforehand(X, y, weight)
        assert_same(one, expected, scale)


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_each_fold_has_the_deviations_of_its_training_rows(small, class_weight, monkeypatch):
    if not small:
        monkeypatch.setattr(direct, "MAX_SECONDS", 0.0)
    X, y, w = problem(3)
    X[: N // 3] *= 2.0
    cv = StratifiedKFold(3)
    options = {"class_weight": class_weight, "tol": 1e-8}
    model = SoftmaxRegressionCV(
        Cs=[0.01, 1.0], cv=cv, standardize=True, use_legacy_attributes=False, **options
    ).fit(X, y, w)
    balanced = w if class_weight is None else w * (w.sum() / (3 * np.bincount(y, w)))[y]
    for i, (training, _) in enumerate(cv.split(X, y)):
        scaler = StandardScaler().fit(X[training], sample_weight=w[training])
        for j, C in enumerate(model.Cs_):
            one = SoftmaxRegression(C=C, tol=1e-9).fit(
                scaler.transform(X[training]), y[training], balanced[training]
            )
            coef = model.coefs_paths_[i, 0, j, :, :-1] * scaler.scale_
            np.testing.assert_allclose(coef, one.coef_, atol=2e-3)
    expected, scale = beforehand(X, y, w, C=model.C_, class_weight=class_weight)
    assert_same(model, expected, scale)


def test_a_batch_after_a_fit_goes_on_with_its_penalty_and_a_first_batch_is_refused():
    X, y, w = problem(3)
    with pytest.raises(ValueError, match="call fit before partial_fit"):
        SoftmaxRegression(standardize=True).partial_fit(X, y, [0, 1, 2])
    model = SoftmaxRegression(standardize=True).fit(X, y, w)
    scale = StandardScaler().fit(X, sample_weight=w).scale_
    in_place = SoftmaxRegression(fit_intercept=False, standardize=True).fit(X, y, w)
    scaled = SoftmaxRegression(fit_intercept=False).fit(X / scale, y, w)
    in_place.partial_fit(X[:50], y[:50])
    scaled.partial_fit(X[:50] / scale, y[:50])
    np.testing.assert_allclose(in_place.coef_ * scale, scaled.coef_, atol=1e-3)
    assert model.partial_fit(X[:50], y[:50]).score(X, y) > 0.5


def test_a_penalised_intercept_is_refused():
    X, y, w = problem(2)
    with pytest.raises(ValueError, match="standardize=True takes an intercept that is not penalised"):
        SoftmaxRegression(standardize=True, solver="liblinear").fit(X, y, w)
    expected, scale = beforehand(X, y, w, with_mean=False)
    model = SoftmaxRegression(standardize=True, solver="liblinear", fit_intercept=False).fit(X, y, w)
    assert_same(model, expected, scale)


def test_it_is_a_parameter_that_is_checked_copied_and_saved(tmp_path):
    X, y = dataset("wine")
    model = SoftmaxRegression(standardize=True).fit(X, y)
    assert clone(model).standardize
    model.save(tmp_path / "model")
    loaded = SoftmaxRegression.load(tmp_path / "model")
    assert loaded.standardize
    np.testing.assert_array_equal(loaded.coef_, model.coef_)
    assert pickle.loads(pickle.dumps(model)).standardize
    with pytest.raises(ValueError, match="standardize"):
        SoftmaxRegression(standardize="yes").fit(X, y)
    pipeline = make_pipeline(StandardScaler(), SoftmaxRegression(C=0.1)).fit(X, y)
    np.testing.assert_allclose(
        SoftmaxRegression(C=0.1, standardize=True).fit(X, y).predict_proba(X),
        pipeline.predict_proba(X),
        atol=1e-3,
    )


def test_a_stopped_fit_goes_on_to_the_same_bits_and_not_with_other_deviations(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "TIME_FRACTION", np.inf)
    X, y, w = problem(3)

    class StoppedError(Exception):
        pass

    def stop(record):
        if record.passes > 6:
            raise StoppedError

    options = {"standardize": True, "class_weight": {0: 2.0}, "checkpoint": tmp_path / "state"}
    with pytest.raises(StoppedError):
        SoftmaxRegression(callbacks=[stop], **options).fit(X, y, w)
    # The same product of weights, of which one counts for the deviations.
    with pytest.raises(ValueError, match="deviations"):
        SoftmaxRegression(**{**options, "class_weight": None}).fit(X, y, np.where(y == 0, 2.0, 1.0) * w)
    model = SoftmaxRegression(**options).fit(X, y, w)
    again = SoftmaxRegression(**{**options, "checkpoint": None}).fit(X, y, w)
    assert model.coef_.tobytes() == again.coef_.tobytes()
