"""Law: objectives and fits on a device are the oracle's and scikit-learn's.

One body for all devices: the CPU is one of them. In the simulator, NumPy takes CuPy's place.
"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from fastsoftmax import DeviceUnavailable

pytest.importorskip("fastsoftmax.kernels.cuda.runtime", exc_type=DeviceUnavailable)

from fastsoftmax import SoftmaxObjective, SoftmaxRegression
from tests import naive
from tests.kernels.cuda.test_verbs import TARGETS, WEIGHT, D, K, N, points, rows_of, targets_of
from tests.tolerance import assert_close


@pytest.fixture(params=["cpu", "cuda"])
def name(request):
    """Every device, of which the CPU is one."""
    return request.param


@pytest.mark.parametrize("kind", TARGETS)
def test_the_objective_is_the_oracles(kind, name):
    y, loss = targets_of(kind)
    X = rows_of("float64")
    objective = SoftmaxObjective(X, y, l2=0.1, n_classes=K, sample_weight=WEIGHT, loss=loss, device=name)
    here, along = points()
    soft = {"soft": True} if kind == "probabilities" else {}
    value, *grad = naive.objective(X, y, *here, l2=0.1, sample_weight=WEIGHT, loss=loss, **soft)
    own_value, own_grad = objective.value_and_grad(objective.pack(*here))
    assert_close(own_value, value, n_terms=D)
    assert_close(own_grad, objective.pack(*grad), n_terms=N)
    curved = objective.pack(*naive.hessp(X, *here, *along, l2=0.1, sample_weight=WEIGHT, loss=loss))
    assert_close(objective.hessp(objective.pack(*here), objective.pack(*along)), curved, n_terms=N)
    assert_close(objective.hessian(objective.pack(*here))(objective.pack(*along)), curved, n_terms=N)


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_fit(dtype, solver, name):
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(24, 3)).astype(dtype), rng.integers(0, 3, 24)
    model = SoftmaxRegression(solver=solver, device=name).fit(X, y)
    assert model.duality_gap_ <= 1e-6 * model.objective_
    best = LogisticRegression(tol=1e-12, max_iter=10000).fit(X.astype(np.float64), y)
    # F is strongly convex with l2 = 1 / n: ‖W − W*‖² ≤ 2 gap / l2.
    assert np.linalg.norm(model.coef_ - best.coef_) <= np.sqrt(2 * model.duality_gap_ * len(y)) + 1e-6
    best.coef_, best.intercept_ = model.coef_.astype(np.float64), model.intercept_.astype(np.float64)
    rounding = 64 * np.finfo(dtype).eps
    wide = X.astype(np.float64)
    for method in ("predict_proba", "predict_log_proba", "decision_function"):
        own, expected = getattr(model, method)(X), getattr(best, method)(wide)
        np.testing.assert_allclose(own, expected, rtol=rounding, atol=rounding)
    np.testing.assert_array_equal(model.predict(X), best.predict(wide))
    classes, proba = model.predict_top_k(X, 2)
    np.testing.assert_array_equal(classes, np.argsort(-best.decision_function(wide), axis=1)[:, :2])
    np.testing.assert_allclose(proba, -np.sort(-best.predict_proba(wide), axis=1)[:, :2], rtol=rounding)
