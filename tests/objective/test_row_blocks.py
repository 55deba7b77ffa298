"""Law: class blocks inverted by the rows that matter are the inverses, or close, and end fits early."""

from __future__ import annotations

import numpy as np
import pytest

from fastsoftmax import SoftmaxRegression, losses
from fastsoftmax.contracts import Params, RowBlock
from fastsoftmax.objective import row_blocks
from fastsoftmax.objective.row_blocks import RowBlocks
from fastsoftmax.sources.array import ArraySource

N, D, K, L2 = 45, 21, 5, 1e-3


def draw():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D))
    weight = np.where(np.arange(N) % 6 == 1, 0.0, rng.uniform(0.5, 2.0, N))
    params = Params(rng.normal(size=(K, D)), rng.normal(size=K))
    return RowBlock(X, rng.integers(0, K, N), weight), params, rng


def blocks_of(rows, params, fit_intercept):
    """Each class's part of a Hessian of sigmoids, which has no others."""
    proba = 1.0 / (1.0 + np.exp(-(rows.X @ params.coef.T + params.intercept)))
    curvature = proba * (1.0 - proba) * rows.weight[:, np.newaxis] / rows.weight.sum()
    X = np.column_stack((rows.X, np.full(N, float(fit_intercept))))
    penalty = np.diag([*np.full(D, L2), 0.0])
    return [(X * c[:, np.newaxis]).T @ X + penalty for c in curvature.T]


def inverse_of(rows, params, fit_intercept, n_threads=1, family="sigmoid"):
    inverse = RowBlocks(rows, losses.family(family), fit_intercept, n_threads).inverse(params, L2)

    def apply(coef, intercept):
        vector = Params(coef.copy(), intercept.copy())
        inverse(vector)
        return np.column_stack(vector)

    return apply


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(("steepest", "tolerance"), [(0.0, 1e-6), (np.inf, 1e-2)], ids=["float64", "float32"])
def test_of_all_rows_they_are_inverses(steepest, tolerance, fit_intercept, monkeypatch):
    monkeypatch.setattr(row_blocks, "MAX_STEEPNESS", steepest)
    monkeypatch.setattr(row_blocks, "KEPT_PER_FEATURE", N)
    monkeypatch.setattr(row_blocks, "LEFT_OUT", 0.0)
    rows, params, rng = draw()
    found = inverse_of(rows, params, fit_intercept)(
        vector := rng.normal(size=(K, D)), b := rng.normal(size=K)
    )
    for k, block in enumerate(blocks_of(rows, params, fit_intercept)):
        back = block @ found[k]
        np.testing.assert_allclose(back[:-1], vector[k], rtol=tolerance, atol=tolerance)
        of_least = max(tolerance, 1e-4)  # an intercept without rows has a curvature of LEAST
        assert back[-1] == pytest.approx(b[k] if fit_intercept else 0.0, rel=of_least, abs=of_least)


def test_of_some_rows_they_are_near_and_the_same_for_any_number_of_threads(monkeypatch):
    monkeypatch.setattr(row_blocks, "KEPT_PER_FEATURE", 1.5)
    rows, params, rng = draw()
    apply = inverse_of(rows, params, True)
    units = np.eye(K * D + K).reshape(-1, K * (D + 1))
    matrix = np.array([apply(u[: K * D].reshape(K, D), u[K * D :])[:, :D].ravel() for u in units])[: K * D]
    np.testing.assert_allclose(matrix, matrix.T, rtol=1e-4, atol=1e-6 * abs(matrix).max())
    for k, block in enumerate(blocks_of(rows, params, True)):
        place = slice(k * D, (k + 1) * D)
        # the block of the coefficients, the intercept eliminated
        hessian = block[:-1, :-1] - np.outer(block[:-1, -1], block[-1, :-1]) / block[-1, -1]
        values = np.linalg.eigvals(matrix[place, place] @ hessian).real
        assert values.min() > 0.05
        assert values.max() < 20.0
    coef, intercept = rng.normal(size=(2, K, D))[0], rng.normal(size=K)
    several = [inverse_of(rows, params, True, n, "softmax")(coef, intercept).tobytes() for n in (1, 2, 3)]
    assert len(set(several)) == 1


def test_nearly_separable_rows_take_few_passes(monkeypatch):
    rng = np.random.default_rng(1)
    y = np.arange(240) % 6
    X = rng.normal(size=(240, 120)) + 1.5 * rng.normal(size=(6, 120))[y]
    source = ArraySource(RowBlock(X, y, np.ones(240)), losses.family("softmax").for_targets(y, 6), 6)
    assert row_blocks.serves(source, losses.family("softmax"), 6, 1e-3)
    model = SoftmaxRegression(C=10.0, tol=1e-9, n_threads=1).fit(X, y)
    monkeypatch.setattr(row_blocks, "MIN_FEATURES", 1000)
    plain = SoftmaxRegression(C=10.0, tol=1e-9, n_threads=1).fit(X, y)
    assert model.objective_ == pytest.approx(plain.objective_, rel=2e-9)
    assert model.duality_gap_ <= 1e-9 * model.objective_
    assert model.history_[-1].passes <= 1.5 * plain.history_[-1].passes


def test_numbers_that_are_too_large_are_said():
    rows, params, _ = draw()
    with pytest.raises(FloatingPointError, match="not finite"), np.errstate(all="ignore"):
        RowBlocks(rows._replace(X=rows.X * 1e200), losses.family("softmax"), True, 1).inverse(
            Params(params.coef * 1e200, params.intercept), L2
        )
