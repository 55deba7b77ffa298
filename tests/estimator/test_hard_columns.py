"""Columns far from zero for their deviation, of tiny scale, or nearly equal: each with its right value.

The right values are those of Newton's method with the whole Hessian on standardised columns.
"""

import numpy as np
import pytest
import scipy.sparse

from fastsoftmax import SoftmaxObjective, SoftmaxRegression
from fastsoftmax.contracts import Centre
from tests.estimator.test_offsets_and_scales import SOLVERS, losses, minimum


def labels_of(z, n_classes, seed):
    rng = np.random.default_rng(seed)
    logits = z[:, np.newaxis] * np.arange(n_classes)
    return (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)


def stored_value(model, X, y):
    wide = np.asarray(X.toarray() if scipy.sparse.issparse(X) else X, dtype=np.longdouble)
    value = losses(model.coef_.astype(np.longdouble), model.intercept_.astype(np.longdouble), wide, y)
    penalty = (
        0.0 if np.inf == model.C else float((model.coef_.astype(float) ** 2).sum()) / (2.0 * model.C * len(y))
    )
    return value + penalty


def dates(seed):
    return 20260101.0 + np.random.default_rng(seed).integers(0, 365, (300, 2))


SECONDS = 1.6e9 + np.linspace(-8.0, 8.0, 51)[:, np.newaxis]
STEPS = np.random.default_rng(2).integers(-20, 20, (400, 2))
PROBLEMS = {
    "seconds since 1970": (SECONDS, labels_of(SECONDS[:, 0] - 1.6e9, 2, 0), np.inf),
    "dates as numbers": (dates(1), labels_of((dates(1) - 20260280.0).sum(axis=1) / 50.0, 3, 1), np.inf),
    "1e-100": (STEPS * [1e-100, 1.0], labels_of(STEPS[:, 0] / 10.0, 2, 3), np.inf),
    "float32 near 1e5": ((1e5 + STEPS).astype(np.float32), labels_of(STEPS[:, 0] / 10.0, 2, 4), 1.0),
    "CSR near 1e5": (
        scipy.sparse.csr_matrix((1e5 + STEPS).astype(np.float32)), labels_of(STEPS[:, 0] / 10.0, 2, 4), 1.0,
    ),
    "int16 near 30000": ((30000 + STEPS).astype(np.int16), labels_of(STEPS[:, 0] / 10.0, 2, 5), 1.0),
    "float32 seconds": (
        (1.6e9 + 128.0 * STEPS[:, :1]).astype(np.float32), labels_of(STEPS[:, 0] / 10.0, 2, 6), 1.0,
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_minimum_is_found_and_said(name, solver):
    X, y, C = PROBLEMS[name]
    dense = np.asarray(X.toarray() if scipy.sparse.issparse(X) else X)
    n_classes = int(y.max()) + 1
    best = minimum(dense, y, 1 if n_classes == 2 else n_classes, 0.0 if np.inf == C else 1.0 / (C * len(y)))
    model = SoftmaxRegression(C=C, solver=solver).fit(X, y)
    for value in (model.objective_, stored_value(model, X, y)):
        np.testing.assert_allclose(value, best, rtol=2e-6)
    assert value >= best * (1.0 - 1e-8)  # of what is stored
    # Logits that are differences of 1e9 round by 1e-7 either way, and F, their mean, by some 1e-8.
    assert model.objective_ >= best * (1.0 - 2e-8)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("storage", [np.asarray, scipy.sparse.csr_matrix])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("solver", SOLVERS)
def test_columns_that_are_nearly_equal(solver, n_classes, storage):
    """Their differences decide the labels. The differences of floats that are so near are exact."""
    rng = np.random.default_rng(0)
    column, *noise = rng.normal(size=(3, 200))
    X = np.column_stack([column, column + 1e-6 * noise[0], column + 1e-8 * noise[1]])
    distinct = np.column_stack([column, (X[:, 1] - column) * 1e6, (X[:, 2] - column) * 1e8])
    y = labels_of(distinct[:, 1] + distinct[:, 2], n_classes, 1)
    best = minimum(distinct, y, 1 if n_classes == 2 else n_classes, 0.0)
    model = SoftmaxRegression(C=np.inf, solver=solver).fit(storage(X), y)
    # Coefficients near 1e8 round the logits to 1e-8.
    np.testing.assert_allclose(model.objective_, best, rtol=2e-6)
    np.testing.assert_allclose(stored_value(model, X, y), best, rtol=2e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("solver", SOLVERS)
def test_nearly_equal_columns_among_many(solver):
    """More parameters than the whole Hessian is built for at each step."""
    rng = np.random.default_rng(0)
    distinct = rng.normal(size=(800, 100))
    X = distinct.copy()
    X[:, 1] = X[:, 0] + 1e-8 * X[:, 1]
    distinct[:, 1] = (X[:, 1] - X[:, 0]) * 1e8
    coef = 0.1 * rng.normal(size=(3, 100))
    coef[:, 1] = [0.0, 1.0, -1.0]
    y = (distinct @ coef.T + rng.gumbel(size=(800, 3))).argmax(axis=1)
    best = SoftmaxRegression(C=np.inf, tol=1e-9, solver="newton-cholesky").fit(distinct, y).objective_
    model = SoftmaxRegression(C=np.inf, solver=solver).fit(X, y)
    np.testing.assert_allclose(model.objective_, best, rtol=5e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("solver", SOLVERS)
def test_columns_that_depend_on_others_exactly(solver):
    """Indicators that sum to one, a column twice and one of zeros: the least coefficients are not sought."""
    rng = np.random.default_rng(0)
    groups, column = rng.integers(0, 6, 900), rng.normal(size=900)
    indicators = np.eye(6)[groups]
    y = labels_of(column + 0.2 * groups, 3, 1)
    best = minimum(np.column_stack([indicators[:, 1:], column]), y, 3, 0.0)
    X = np.column_stack([indicators, column, column, np.zeros(900)])
    model = SoftmaxRegression(C=np.inf, solver=solver).fit(X, y)
    np.testing.assert_allclose(model.objective_, best, rtol=2e-6)
    assert np.abs(model.coef_).max() < 100.0
    np.testing.assert_array_equal(model.coef_[:, -1], 0.0)


@pytest.mark.parametrize("name", ["float32 near 1e5", "int16 near 30000", "float32 seconds"])
def test_predictions_are_those_of_the_fit(name, tmp_path):
    """Products with such rows are float64 in predictions, too, also of a model from a file."""
    X, y, C = PROBLEMS[name]
    model = SoftmaxRegression(C=C).fit(X, y)
    model.save(tmp_path / "model")
    exact = X.astype(np.longdouble) @ model.coef_[0].astype(np.longdouble) + model.intercept_[0]
    for each in (model, SoftmaxRegression.load(tmp_path / "model")):
        found = each.decision_function(X)
        assert found.dtype == np.float64
        size = np.abs(X.astype(float)) @ np.abs(model.coef_[0]) + np.abs(model.intercept_[0])
        assert np.abs(found - exact).max() <= 4.0 * np.finfo(float).eps * size.max()


def test_coefficients_of_ordinary_float32_rows_stay_float32():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 6)).astype(np.float32)
    y = labels_of(X[:, 0].astype(float), 3, 1)
    for solver in SOLVERS:
        model = SoftmaxRegression(solver=solver).fit(X, y)
        assert model.coef_.dtype == model.intercept_.dtype == np.float32
        assert model.predict_proba(X).dtype == np.float32
        # What is said is F of the stored parameters, from products that tell them apart.
        exact = SoftmaxObjective(X.astype(float), y, l2=1.0 / len(y))
        np.testing.assert_allclose(
            model.objective_, exact.value(exact.pack(model.coef_, model.intercept_)), rtol=1e-8
        )


def test_finer_parameters_where_float32_would_cost_the_tolerance():
    rng = np.random.default_rng(0)
    X = (60.0 + rng.normal(size=(500, 6))).astype(np.float32)  # near enough to zero not to be centred
    y = labels_of(X[:, 0].astype(float) - 60.0, 3, 1)
    model = SoftmaxRegression(tol=1e-13, solver="newton-cholesky").fit(X, y)
    exact = SoftmaxObjective(X.astype(float), y, l2=1.0 / len(y))
    value = exact.value(exact.pack(model.coef_, model.intercept_))
    assert model.coef_.dtype == np.float64
    np.testing.assert_allclose(model.objective_, value, rtol=1e-13)


def test_a_centred_objective_is_the_same_function():
    rng = np.random.default_rng(0)
    mean = np.array([40.0, 0.0, -7.0])
    X = rng.normal(size=(60, 3)) + mean
    y = rng.integers(0, 3, 60)
    plain = SoftmaxObjective(X, y, l2=0.3)
    centred = plain.centred(Centre(mean, np.ones(3), np.array([0, 2])))
    coef, intercept = rng.normal(size=(3, 3)) / 10.0, rng.normal(size=3)
    x, z = plain.pack(coef, intercept), centred.pack(coef, intercept)
    np.testing.assert_allclose(centred.unpack(z).intercept, intercept, atol=1e-12)
    value, grad = centred.value_and_grad(z)
    np.testing.assert_allclose(value, plain.value(x), rtol=1e-13)
    shifted = SoftmaxObjective(X - mean, y, l2=0.3)
    at = shifted.pack(coef, intercept + coef @ mean)
    np.testing.assert_allclose(grad, shifted.value_and_grad(at)[1], atol=1e-12)
    direction = rng.normal(size=x.size)
    np.testing.assert_allclose(
        centred.hessp(z, direction),
        shifted.hessp(at, direction), atol=1e-11,
    )  # fmt: skip
    np.testing.assert_allclose(
        centred.inverse_hessian(z)(direction), shifted.inverse_hessian(at)(direction), atol=1e-9
    )
    np.testing.assert_allclose(
        centred.lower_bound(z, value, grad), shifted.lower_bound(at, value, grad), rtol=1e-11
    )


def test_rows_are_centred_by_intercepts_only():
    objective = SoftmaxObjective([[1.0], [2.0]], [0, 1], fit_intercept=False)
    with pytest.raises(ValueError, match="has none"):
        objective.centred(Centre(np.ones(1), np.ones(1), np.array([0])))
