"""Law: F and its gradient at parameters as they are stored are those of float64 products, by few rows."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from fastsoftmax import SoftmaxObjective
from fastsoftmax.contracts import Centre
from fastsoftmax.estimator.anchored import AnchoredObjective
from fastsoftmax.objective import stored
from tests import naive

D, K, L2 = 5, 4, 0.03
FEW, MANY = 60, 5000
STORAGES = {"dense": np.asarray, "CSR": sp.csr_array}
KINDS = {
    "labels": {},
    "smoothed": {"label_smoothing": 0.2},
    "probabilities": {"label_smoothing": 0.1},
    "sigmoid": {"loss": "sigmoid", "label_smoothing": 0.1},
}


def target_of(kind, n_rows):
    rng = np.random.default_rng(1)
    if kind == "probabilities":
        return rng.dirichlet(np.ones(K), n_rows).astype(np.float32)
    if kind == "sigmoid":
        return rng.integers(0, 2, (n_rows, K))
    return rng.integers(0, K, n_rows)


def drawn(n_rows, kind="labels", storage="dense", dtype=np.float32, **options):
    """An objective of rows with weights, some of them zero, and a point, whose mean over classes is not."""
    rng = np.random.default_rng(0)
    X = np.where(rng.random((n_rows, D)) < 0.3, 0.0, rng.normal(size=(n_rows, D)) + 0.5).astype(dtype)
    weight = np.where(np.arange(n_rows) % 6 == 1, 0.0, rng.uniform(0.1, 4.0, n_rows))
    y = target_of(kind, n_rows)
    objective = SoftmaxObjective(
        STORAGES[storage](X), y, l2=L2, sample_weight=weight, **KINDS[kind] | options
    )
    return objective, X.astype(np.float64), y, weight, rng.normal(size=objective.n_params) + 0.3


def oracle(X, y, weight, coef, intercept, kind):
    """F and its gradient, by scalar loops."""
    options = dict(KINDS[kind])
    if kind == "probabilities":
        options["soft"] = True
    if kind == "sigmoid":
        smoothing = options.pop("label_smoothing")
        y = (1.0 - smoothing) * y + 0.5 * smoothing
    value, *grad = naive.objective(X, y, coef, intercept, l2=L2, sample_weight=weight, **options)
    return value, np.concatenate([np.ravel(part) for part in grad])


def of_stored(objective, x, dtype):
    """Parameters of a softmax as `coef_` and `intercept_` hold them."""
    coef, intercept = objective.unpack(x)
    coef = coef - coef.mean(axis=0)
    return coef.astype(dtype).astype(np.float64), intercept.astype(dtype).astype(np.float64)


def hidden_by(objective, grad, slope):
    """What the true gradient adds to the likely gap of the objective's own."""
    return objective.likely_gap(slope) - objective.likely_gap(grad)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("kind", ["labels", "smoothed", "probabilities"])
def test_few_rows_are_exact(kind, storage, dtype):
    objective, X, y, weight, x = drawn(FEW, kind, storage)
    own, grad = objective.value_and_grad(x)
    found, hidden = objective.storing(dtype).as_stored(x, own, grad)
    value, _ = oracle(X, y, weight, *of_stored(objective, x, dtype), kind)
    assert found == pytest.approx(value, rel=1e-14)
    _, slope = oracle(X, y, weight, *objective.unpack(x), kind)
    assert hidden == pytest.approx(hidden_by(objective, grad, slope), abs=1e-12)
    assert 1e-10 < abs(hidden) < 1e-4
    assert objective.passes == 1


@pytest.mark.parametrize("storage", STORAGES)
def test_float64_products_hide_nothing(storage):
    objective, X, y, weight, x = drawn(FEW, storage=storage, dtype=np.float64)
    own, grad = objective.value_and_grad(x)
    for dtype in (np.float32, np.float64):
        found, hidden = objective.storing(dtype).as_stored(x, own, grad)
        value, _ = oracle(X, y, weight, *of_stored(objective, x, dtype), "labels")
        assert found == pytest.approx(value, rel=1e-14)
        assert hidden == 0.0


def test_the_mean_over_classes_stays_where_a_loss_sees_it():
    objective, X, y, weight, x = drawn(FEW, "sigmoid")
    found, _ = objective.as_stored(x, *objective.value_and_grad(x))
    assert found == pytest.approx(oracle(X, y, weight, *objective.unpack(x), "sigmoid")[0], rel=1e-14)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_many_rows_are_corrected_by_a_sample(kind, storage):
    objective, *_, x = drawn(MANY, kind, storage)
    own, grad = objective.value_and_grad(x)
    found, hidden = objective.as_stored(x, own, grad)
    exact = objective.in_float64()
    at = x if kind == "sigmoid" else exact.pack(*of_stored(objective, x, np.float64))
    assert found == pytest.approx(exact.value(at), rel=1e-8)
    slope = exact.value_and_grad(x)[1]
    assert hidden == pytest.approx(hidden_by(objective, grad, slope), abs=1e-6 * exact.likely_gap(slope))
    assert objective.passes == 1


def test_a_gross_error_is_seen_in_a_sample():
    """Columns near 1e5: float32 products are off by 1e-5 and more, of which the check leaves little."""
    objective, X, y, weight, x = drawn(MANY)
    shifted = SoftmaxObjective((X + 1e5).astype(np.float32), y, l2=L2, sample_weight=weight)
    coef, intercept = (np.array(part) for part in objective.unpack(x))
    coef -= coef.mean(axis=0)
    intercept -= coef.sum(axis=1) * 1e5
    x = shifted.pack(coef, intercept)
    near, grad = shifted.value_and_grad(x)
    found, hidden = shifted.as_stored(x, near, grad)
    right = shifted.in_float64().value(x)
    assert abs(near - right) > 1e-5
    assert abs(found - right) < 0.3 * abs(near - right)
    assert abs(hidden) > 1e-5


def test_centred_parameters():
    objective, X, y, weight, x = drawn(FEW)
    mean, variance = X.mean(axis=0), X.var(axis=0)
    centred = objective.centred(Centre(mean, variance, np.arange(D)))
    at = centred.pack(*objective.unpack(x))
    own, grad = centred.value_and_grad(at)
    found, hidden = centred.as_stored(at, own, grad)
    value, _ = oracle(X, y, weight, *of_stored(objective, x, np.float64), "labels")
    assert found == pytest.approx(value, rel=1e-13)
    _, slope = oracle(X, y, weight, *objective.unpack(x), "labels")
    by_coef, by_intercept = slope[: K * D].reshape(K, D), slope[K * D :]
    slope = np.append((by_coef - np.outer(by_intercept, mean)).ravel(), by_intercept)
    assert hidden == pytest.approx(hidden_by(centred, grad, slope), abs=1e-12)


def test_numbers_that_float32_does_not_hold():
    objective, *_, x = drawn(FEW, dtype=np.float64)
    value, _ = objective.storing(np.float32).as_stored(1e39 * x, *objective.value_and_grad(x))
    assert not np.isfinite(value)


def test_with_a_quadratic_around_an_earlier_optimum():
    objective, *_, x = drawn(FEW)
    objective = objective.with_l2(0.0).storing(np.float32)
    rng = np.random.default_rng(4)
    precision, centre = rng.uniform(size=(2, objective.n_params))
    anchored = AnchoredObjective(objective, centre, 50.0 * precision, total_weight=50.0)
    value, hidden = anchored.as_stored(x, *anchored.value_and_grad(x))
    own, own_hidden = objective.as_stored(x, *objective.value_and_grad(x))
    assert value == pytest.approx(own + 0.5 * precision @ (x - centre) ** 2, rel=1e-14)
    assert hidden == own_hidden == 0.0


def test_the_size_of_the_sample():
    assert FEW < stored.ROWS < MANY
