"""Gradients and curvatures for boosting: those of the cross-entropy, by rows and by classes alike."""

from __future__ import annotations

import numpy as np
import pytest

import fastsoftmax
from fastsoftmax.backends.boosting.loss import SoftmaxLoss

N = 131


@pytest.mark.parametrize("n_classes", [3, 300])
@pytest.mark.parametrize("kind", ["labels", "weighted labels", "smoothed labels", "probabilities"])
def test_gradients_and_curvatures(n_classes, kind):
    """Slopes are the cross-entropy's gradient; curvatures 2 · mass · p (1 − p), at least 1e-16."""
    rng = np.random.default_rng(n_classes)
    x = (3.0 * rng.normal(size=(N, n_classes))).astype(np.float32)
    labels, soft, weight, options = rng.integers(0, n_classes, N), None, None, {}
    if kind != "labels":
        weight, options["class_weight"] = rng.random(N), rng.random(n_classes)
    if kind == "probabilities":
        soft = rng.dirichlet(np.ones(n_classes), N)
    options["label_smoothing"] = 0.1 if kind in ("smoothed labels", "probabilities") else 0.0
    _, expected = fastsoftmax.cross_entropy_value_and_grad(
        x, labels if soft is None else soft, sample_weight=weight, reduction="sum", **options
    )
    masses = np.eye(n_classes)[labels] if soft is None else soft
    smoothing = options["label_smoothing"]
    masses = ((1.0 - smoothing) * masses + smoothing / n_classes) * options.get("class_weight", 1.0)
    masses *= 1.0 if weight is None else weight[:, None]
    p = fastsoftmax.softmax(x, axis=1)
    curved = np.maximum(2.0 * masses.sum(1)[:, None] * p * (1.0 - p), 1e-16)
    loss = SoftmaxLoss(soft, options.get("class_weight"), smoothing, "xgboost")
    # A row's mass is a sum of K; what 1 − p loses is lost by both, in another place.
    tolerance = (8.0 + n_classes / 2.0) * np.finfo(np.float32).eps
    slopes, curvatures = loss.grad_and_hess(x, labels.astype(np.float32), weight)
    assert slopes.dtype == curvatures.dtype == np.float32
    np.testing.assert_allclose(slopes, expected, rtol=0.0, atol=tolerance)
    np.testing.assert_allclose(curvatures, curved, rtol=0.0, atol=tolerance)
    columns = np.ascontiguousarray(x.T, dtype=np.float64)
    slopes, curvatures = loss.grad_and_hess(columns, labels, weight, by_class=True)
    assert slopes.dtype == curvatures.dtype == np.float32
    np.testing.assert_allclose(slopes.T, expected, rtol=0.0, atol=tolerance)
    np.testing.assert_allclose(curvatures.T, curved, rtol=0.0, atol=tolerance)
