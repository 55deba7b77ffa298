"""Law: an offset is added to the logits, of fits and of predictions, and the gap bounds F - F* with it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from fastsoftmax import SoftmaxRegression, load, rows_from
from fastsoftmax.contracts import Params, RowBlock, queries
from fastsoftmax.estimator.offsets import joined
from fastsoftmax.objective.objective import SoftmaxObjective
from fastsoftmax.objective.offset import OffsetObjective
from tests import naive

N, D = 60, 4


def problem(kind):
    """Rows with a column far from zero, labels, weights with zeros, an offset, and the targets (n, K)."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D)) + 50.0 * np.eye(D)[0]
    weight = rng.integers(0, 3, N).astype(float)
    if kind == "two classes":
        y = np.arange(N) % 2
        return X, y, weight, 2 * rng.normal(size=N), y[:, np.newaxis]
    y = rng.dirichlet(np.ones(3), N) if kind == "shares" else rng.integers(0, 2, (N, 3)).astype(float)
    return X, y, weight, 2 * rng.normal(size=(N, 3)), y


def model_of(kind, **options):
    return SoftmaxRegression(loss="sigmoid" if kind == "labels" else "softmax", **options)


@pytest.mark.parametrize("C", [0.7, np.inf])
@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg", "newton-cholesky"])
@pytest.mark.parametrize("kind", ["two classes", "shares", "labels"])
def test_the_fit_is_the_optimum(kind, solver, C):
    X, y, weight, offset, target = problem(kind)
    narrow = kind == "two classes"  # that also is sparse
    X = X.astype(np.float32) if narrow else X
    model = model_of(kind, C=C, solver=solver, tol=1e-9)
    model.fit(scipy.sparse.csr_array(X) if narrow else X, y, weight, offset=offset)
    known = offset.reshape(N, -1)
    # The naive model of rows (x, o), whose last coefficients are the identity; the penalty is added here.
    wide = np.column_stack((model.coef_, np.eye(known.shape[1])))
    options = {"loss": "softmax", "soft": True} if kind == "shares" else {"loss": "sigmoid"}
    value, grad, by_intercept = naive.objective(
        np.column_stack((X.astype(float), known)).tolist(), target.tolist(), wide.tolist(),
        model.intercept_.tolist(), sample_weight=weight.tolist(), **options,
    )  # fmt: skip
    l2 = 1 / (C * weight.sum())
    coef = model.coef_.astype(float)
    assert model.objective_ == pytest.approx(value + l2 / 2 * (coef**2).sum(), rel=1e-9)
    # 1e-9 of F is some 1e-5 of a gradient, of a column of 50; coefficients of float32 rows are rounded.
    np.testing.assert_allclose(np.array(grad)[:, :D] + l2 * coef, 0.0, atol=1e-4)
    np.testing.assert_allclose(by_intercept, 0.0, atol=3e-6)
    assert model.coef_.dtype == X.dtype
    assert (model.duality_gap_ is None) == (np.inf == C)


@pytest.mark.parametrize("kind", ["two classes", "shares", "labels"])
def test_the_gap_bounds_what_is_left(kind):
    X, y, weight, offset, _ = problem(kind)
    for fit_intercept in (True, False):
        options = {"C": 0.7, "fit_intercept": fit_intercept}
        best = model_of(kind, tol=1e-12, solver="newton-cg", **options).fit(X, y, weight, offset=offset)
        model = model_of(kind, tol=1e-10, solver="lbfgs", **options).fit(X, y, weight, offset=offset)
        bounded = [each for each in model.history_ if each.gap is not None]
        assert bounded[-1].gap <= 1e-10 * bounded[-1].objective
        for each in bounded:
            assert each.objective - each.gap <= best.objective_ * (1 + 1e-14)


def test_the_parts_of_the_objective_are_those_of_wider_rows():
    X, y, weight, offset, _ = problem("shares")
    wide = RowBlock(joined(X, offset), y, weight)
    plain = SoftmaxObjective.of_rows(wide, 3, l2=0.0)
    ours = OffsetObjective.of_offset_rows(wide, 3, l2=0.0)
    rng = np.random.default_rng(1)
    coef, intercept = 0.1 * rng.normal(size=(3, D)), rng.normal(size=3)
    x = ours.pack(coef, intercept)
    at = plain.pack(np.column_stack((coef, np.eye(3))), intercept)
    places = np.flatnonzero(plain.pack(np.column_stack((np.ones((3, D)), np.zeros((3, 3)))), np.ones(3)))
    value, grad = plain.value_and_grad(at)
    for found in (ours.value_and_grad(x), [part[0] for part in ours.values_and_grads([x])]):
        assert found[0] == pytest.approx(value, rel=1e-14)
        np.testing.assert_allclose(found[1], grad[places], rtol=1e-13, atol=1e-14)
    matrix = plain.hessian_matrix(at)[np.ix_(places, places)]
    np.testing.assert_allclose(ours.hessian_matrix(x), matrix, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(ours.diagonal(x), np.diag(matrix), rtol=1e-12)
    v = rng.normal(size=ours.n_params)
    np.testing.assert_allclose(ours.hessp(x, v), matrix @ v, rtol=1e-11, atol=1e-12)
    with pytest.raises(TypeError, match="do not answer the query LargestNorm"):
        ours.sum_over_rows(queries.LargestNorm(np.eye(D + 1)))
    sampled = ours._rows.source.sample(N // 2)
    assert sampled.spec.n_features == D
    assert sampled.sum(queries.LossGrad(Params(coef, intercept))).coef.shape == (3, D)


def test_an_offset_that_the_features_make_is_taken_off_the_coefficients(tmp_path):
    X, y, weight, _, _ = problem("shares")
    V = np.random.default_rng(2).normal(size=(3, D)) - [[1.0], [0.0], [0.0]]
    V -= V.mean(axis=0)
    options = {"C": np.inf, "tol": 1e-10, "solver": "newton-cg"}
    plain = SoftmaxRegression(**options).fit(X, y, weight)
    model = SoftmaxRegression(**options).fit(X, y, weight, offset=X @ V.T)
    np.testing.assert_allclose(
        model.predict_proba(X, offset=X @ V.T), plain.predict_proba(X), rtol=1e-6, atol=1e-9
    )
    with pytest.raises(ValueError, match="fitted with an offset"):
        model.inference(X, y)
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match="fitted with an offset"):
        load(tmp_path / "model").inference(X, y)
    for options in ({}, {"kind": "robust"}, {"kind": "cluster", "groups": np.arange(N) % 7}):
        one = model.inference(X, y, weight, offset=X @ V.T, **options)
        other = plain.inference(X, y, weight, **options)
        np.testing.assert_allclose(one.cov, other.cov, rtol=1e-4, atol=1e-4 * np.abs(other.cov).max())
        np.testing.assert_allclose(one.params[:, 1:] + V[1:] - V[0], other.params[:, 1:], atol=1e-3)
        assert one.loglik == pytest.approx(other.loglik, rel=1e-8)
    with pytest.raises(ValueError, match="no marginal effects"):
        one.margins()
    with pytest.raises(ValueError, match="the same offset"):
        one.lr_test(other)
    assert not model.fit(X, y)._with_offset


@pytest.mark.parametrize("kind", ["two classes", "shares", "labels"])
def test_the_best_constants_beside_an_offset(kind):
    X, y, weight, offset, target = problem(kind)
    model = model_of(kind, C=1.0, solver="newton-cg").fit(X, y, weight, offset=offset)
    known = offset.reshape(N, -1)
    shift = 1000.0 * np.arange(known.shape[1]) if kind == "shares" else 1000.0

    def loss(constants):
        z = known + constants
        if kind == "shares":
            return -weight @ (target * log_softmax(z, axis=1)).sum(axis=1)
        return weight @ (np.logaddexp(0.0, z) - target * z).sum(axis=1)

    best = minimize(loss, np.zeros(known.shape[1]), tol=1e-10).fun
    for moved in (known, known + shift):  # at zero, all of the second's probabilities are 0 or 1
        found = (
            model.inference(X, y, weight, offset=moved)
            if moved is known
            else model.fit(X, y, weight, offset=moved).inference(X, y, weight, offset=moved)
        )
        assert found.loglik_null == pytest.approx(-best, rel=1e-8)


@pytest.mark.parametrize("kind", ["two classes", "shares", "labels"])
def test_predictions_add_the_offset(kind):
    X, y, weight, offset, target = problem(kind)
    model = model_of(kind).fit(X, y, weight, offset=offset)
    z = model.decision_function(X, offset=offset)
    np.testing.assert_allclose(z, model.decision_function(X) + offset, rtol=1e-14)
    proba = model.predict_proba(X, offset=offset)
    if kind == "shares":
        expected = softmax(z, axis=1)
    else:
        expected = 1 / (1 + np.exp(-z))
        expected = np.column_stack((1 - expected, expected)) if kind == "two classes" else expected
    np.testing.assert_allclose(proba, expected, rtol=1e-12)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X, offset=offset)), proba, rtol=1e-12)
    predicted = model.predict(X, offset=offset)
    np.testing.assert_array_equal(predicted, proba > 0.5 if kind == "labels" else proba.argmax(axis=1))
    classes, top = model.predict_top_k(X, 2, offset=offset)
    np.testing.assert_array_equal(classes[:, 0], proba.argmax(axis=1))
    np.testing.assert_array_equal(top, -np.sort(-proba, axis=1)[:, :2])
    truth = predicted if kind == "labels" else target.argmax(axis=1) if kind == "shares" else y
    right = np.mean(predicted == truth)
    assert model.score(X, truth, offset=offset) == pytest.approx(right)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"l1_ratio": 0.5}, "l1_ratio above 0"),
        ({"standardize": True}, "standardize"),
        ({"multi_class": "ovr"}, "'ovr'"),
        ({"multi_class": "ovr", "class_weight": "balanced"}, "'ovr'"),
        ({"device": "cuda"}, "on the CPU alone"),
        ({"checkpoint": "file"}, "checkpoint"),
    ],
)
def test_what_does_not_go_with_an_offset(options, reason):
    X, y, _, offset, _ = problem("shares")
    with pytest.raises(ValueError, match=f"offset does not go with .*{reason}"):
        SoftmaxRegression(**options).fit(X, y.argmax(axis=1), offset=offset)


def test_offsets_of_another_shape():
    X, y, _, offset, _ = problem("shares")
    model = SoftmaxRegression().fit(X, y)
    for call in (lambda given: model.fit(X, y, offset=given), lambda given: model.predict(X, offset=given)):
        with pytest.raises(ValueError, match="says nothing of the classes"):
            call(offset[:, 0])
        with pytest.raises(ValueError, match=r"offset must have shape \(60, 3\); got \(60, 2\)"):
            call(offset[:, :2])
        with pytest.raises(ValueError, match="NaN or infinity"):
            call(np.where(offset == offset[3, 1], np.inf, offset))
    rows = rows_from(lambda: iter([(X, y.argmax(axis=1))]))
    with pytest.raises(TypeError, match="arrays in memory"):
        SoftmaxRegression().fit(rows, offset=offset)
    for method in (model.predict, model.score):
        with pytest.raises(TypeError, match="arrays in memory"):
            method(rows, offset=offset)
