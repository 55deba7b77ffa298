"""Law: parameters that scikit-learn has mean here what they mean there, or are refused in its words."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression

from fastsoftmax import SoftmaxRegression
from tests.problems import dataset
from tests.tolerance import assert_close

TIGHT = {"tol": 1e-10}


@pytest.mark.parametrize(
    ("solver", "runs"),
    [
        ("auto", "lbfgs"),
        ("lbfgs", "lbfgs"),
        ("newton-cg", "newton-cg"),
        ("newton-cholesky", "newton-cholesky"),
        ("sag", "lbfgs"),
        ("saga", "lbfgs"),
        ("liblinear", "lbfgs"),
    ],
)
def test_every_name_of_a_solver_runs_one_that_solver_says(solver, runs):
    X, y = dataset("breast_cancer")
    model = SoftmaxRegression(solver=solver, fit_intercept=False, **TIGHT).fit(X, y)
    assert model.solver_ == runs
    best = SoftmaxRegression(fit_intercept=False, **TIGHT).fit(X, y).objective_
    assert model.objective_ == pytest.approx(best, rel=2e-10)


REFUSED = {
    "dual without liblinear": {"dual": True},
    "an absolute penalty": {"l1_ratio": 1, "solver": "lbfgs"},
    "an absolute penalty of a solver that has none": {"l1_ratio": 0.5, "solver": "newton-cg"},
    "liblinear with both penalties": {"l1_ratio": 0.5, "solver": "liblinear"},
    "liblinear without a penalty": {"C": np.inf, "solver": "liblinear"},
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_scikit_learn_refuses(case):
    X, y = dataset("breast_cancer")
    options = REFUSED[case]
    theirs = LogisticRegression(**{"solver": "lbfgs", **options})
    with pytest.raises(ValueError) as expected:
        theirs.fit(X, y)
    with pytest.raises(ValueError) as caught:
        SoftmaxRegression(**options).fit(X, y)
    # our default solver has a name of its own
    assert str(caught.value).replace("Solver auto", "Solver lbfgs") == str(expected.value)


@pytest.mark.parametrize(
    "options",
    [
        {"l1_ratio": 0.5},
        {"solver": "saga", "l1_ratio": 0.5},
        {"solver": "liblinear", "l1_ratio": 1},
        {"solver": "saga", "penalty": "l1"},
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:Inconsistent values")
def test_an_absolute_penalty_is_never_ignored(options):
    assert (SoftmaxRegression(C=0.1, **options).fit(*dataset("breast_cancer")).coef_ == 0.0).any()


def test_liblinear_takes_two_classes():
    with pytest.raises(ValueError, match="does not support multiclass"):
        SoftmaxRegression(solver="liblinear").fit(*dataset("iris"))
    with pytest.raises(ValueError, match="liblinear"):
        SoftmaxRegression(solver="liblinear").partial_fit(*dataset("iris"), classes=[0, 1, 2])


def test_partial_fit_penalises_liblinears_intercept():
    X, y = dataset("breast_cancer")
    X = X + 1.0
    # in one batch there is nothing to approximate: what fit finds
    options = {"solver": "liblinear", "intercept_scaling": 3.0, "C": 0.01, **TIGHT}
    whole = SoftmaxRegression(**options).fit(X, y)
    batch = SoftmaxRegression(**options).partial_fit(X, y, classes=[0, 1])
    away = np.sqrt(2 * 1e-10 * len(y) * 0.01)  # √(2 gap / l2), F < 1
    np.testing.assert_allclose(batch.coef_, whole.coef_, atol=2 * away)
    np.testing.assert_allclose(batch.intercept_, whole.intercept_, atol=6 * away)
    np.testing.assert_allclose(batch._precision, whole._precision, rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "category", "words"),
    [
        ({"n_jobs": 2}, FutureWarning, "'n_jobs' has no effect"),
        ({"l1_ratio": None}, FutureWarning, "'l1_ratio=None' was deprecated"),
        ({"penalty": "l2"}, FutureWarning, "'penalty' was deprecated"),
        (
            {"penalty": "l2", "l1_ratio": 1.0},
            UserWarning,
            "Inconsistent values: penalty=l2 with l1_ratio=1.0",
        ),
        ({"penalty": None, "C": 3.0}, UserWarning, "Setting penalty=None will ignore the C"),
    ],
)
def test_what_is_deprecated_says_so_where_fit_is_called(options, category, words):
    X, y = dataset("iris")
    X, y = X[50:, :2], y[50:]  # classes that overlap: there is an optimum without a penalty
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = SoftmaxRegression(**options).fit(X, y)
    found = [warning for warning in caught if words in str(warning.message)]
    assert [warning.category for warning in found] == [category]
    assert found[0].filename == __file__
    plain = SoftmaxRegression(C=np.inf if "penalty" in options and options["penalty"] is None else 1.0)
    np.testing.assert_array_equal(model.coef_, plain.fit(X, y).coef_)


@pytest.mark.parametrize("sparse", [False, True])
def test_coefficients_have_the_dtype_of_the_rows(sparse):
    X, y = dataset("breast_cancer")
    for dtype, expected in ((np.float32, np.float32), (np.float64, np.float64), (np.int16, np.float64)):
        rows = sp.csr_array(X.astype(dtype)) if sparse else X.astype(dtype)
        model, theirs = SoftmaxRegression().fit(rows, y), LogisticRegression(max_iter=1000).fit(rows, y)
        for name in ("coef_", "intercept_"):
            assert getattr(model, name).dtype == getattr(theirs, name).dtype == expected
    single = X.astype(np.float32)
    assert SoftmaxRegression(solver="liblinear").fit(single, y).coef_.dtype == np.float64


def test_coefficients_in_single_lose_nothing_of_the_objective():
    X, y = dataset("digits")
    rows = X.astype(np.float32)
    model = SoftmaxRegression().fit(rows, y)
    z = X @ model.coef_.astype(float).T + model.intercept_
    loss = np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(y)), y])
    again = loss + np.sum(model.coef_.astype(float) ** 2) / (2 * len(y))
    # rounding moves F in second order only: what is left are float32 products, 64 terms each
    assert again == pytest.approx(model.objective_, rel=1e-6)


def test_sparsify(tmp_path):
    X, y = dataset("iris")
    model = SoftmaxRegression(warm_start=True).fit(X, y)
    dense, log = model.coef_.copy(), model.predict_log_proba(X)
    assert sp.issparse(model.sparsify().coef_)
    np.testing.assert_array_equal(model.predict_log_proba(X), log)
    assert_close(model.predict_log_proba(sp.csr_array(X)), log, n_terms=4)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(SoftmaxRegression.load(tmp_path / "model").coef_, dense)
    np.testing.assert_array_equal(model.densify().coef_, dense)
    first = len(model.history_)
    assert len(model.sparsify().fit(X, y).history_) < first  # it started from them


def test_coefficients_may_be_put_in_by_hand():
    X, y = dataset("wine")
    fitted, model = SoftmaxRegression().fit(X, y), SoftmaxRegression()
    both = np.column_stack((fitted.coef_, fitted.intercept_))
    model.coef_, model.intercept_, model.classes_ = both[:, :-1], both[:, -1], fitted.classes_
    np.testing.assert_array_equal(model.predict_proba(X), fitted.predict_proba(X))
