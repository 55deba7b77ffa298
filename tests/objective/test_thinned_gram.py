"""Law: a Hessian summed over rows that are met once is that of all rows, by its mean, and ends fits early."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from fastsoftmax import SoftmaxObjective, SoftmaxRegression, devices, losses, open_rows, rows_from
from fastsoftmax.contracts import Csr, Params, RowBlock, row_slice
from fastsoftmax.objective import few_readings
from fastsoftmax.objective.thinned_gram import ThinnedGram, of_scaled_rows
from fastsoftmax.persistence import checkpoint
from fastsoftmax.sources.pairwise import pairwise_sum

N, D = 3000, 12


def block(sparse):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(N, D)) * np.geomspace(0.1, 10.0, D)
    if sparse:
        X = sp.csr_array(np.where(np.abs(X) > 0.3, X, 0.0))
        X = Csr(X.data, X.indices, X.indptr, X.shape)
    return RowBlock(X, rng.integers(0, 2, N), np.where(np.arange(N) % 10 == 4, 0.0, 1.5))


def gram(rows, rate, step, params):
    loss = losses.family("sigmoid").for_targets(rows.target, 1)
    query = ThinnedGram(params, rate, np.dtype(float))
    answers = []
    for first in range(0, N, step):
        stop = min(first + step, N)
        part = RowBlock(row_slice(rows.X, first, stop), rows.target[first:stop], rows.weight[first:stop])
        answers.append(devices.answer(query.placed(first), loss, "cpu", part, 1))
    return pairwise_sum(answers).matrix()


@pytest.mark.parametrize("sparse", [False, True])
def test_the_sum_of_all_rows_is_the_hessian(sparse):
    rows = block(sparse)
    params = Params(np.linspace(-0.3, 0.3, D)[np.newaxis], np.array([-0.5]))
    X = sp.csr_array((rows.X.data, rows.X.indices, rows.X.indptr)).toarray() if sparse else rows.X
    plain = SoftmaxObjective(X, rows.target[:, np.newaxis], sample_weight=rows.weight, loss="sigmoid")
    expected = plain.hessian_matrix(plain.pack(params.coef, params.intercept))
    for step in (N, 97):
        found = gram(rows, 1e12, step, params)
        np.testing.assert_allclose(np.tril(found), np.tril(expected), rtol=1e-9, atol=1e-12)
    # two thirds of the rows at most: the same ones however they are cut, and the same sum on average
    parts = [np.tril(gram(rows, 3.0, step, params)) for step in (N, 97)]
    np.testing.assert_allclose(*parts, rtol=1e-9, atol=1e-12)
    assert 1e-3 < abs(parts[0] - np.tril(expected)).max() / abs(expected).max() < 0.2
    # of rows that are scaled and centred
    factor, mean = np.geomspace(3.0, 0.2, D), np.linspace(-1.0, 1.0, D)
    other = SoftmaxObjective((X - mean) * factor, plain_y(rows), sample_weight=rows.weight, loss="sigmoid")
    same_logits = other.pack(params.coef / factor, params.intercept + params.coef @ mean)
    whole = np.tril(gram(rows, 1e12, N, params))
    changed = of_scaled_rows(whole + np.tril(whole, -1).T, np.stack((factor, mean)))
    np.testing.assert_allclose(changed, other.hessian_matrix(same_logits), rtol=1e-8, atol=1e-10)


def plain_y(rows):
    return rows.target[:, np.newaxis]


@pytest.mark.parametrize("standardize", [False, True])
def test_few_readings_where_the_sample_has_few_rows_for_a_feature(standardize):
    rng = np.random.default_rng(5)
    n, d = 20_000, 260
    X = (rng.normal(size=(n, d)) + rng.normal(size=(n, 4)) @ rng.normal(size=(4, d))).astype(np.float32)
    y = X @ rng.normal(size=d) / 20 + rng.logistic(size=n) > 0

    def make():
        for start in range(0, n, 1000):
            yield X[start : start + 1000], y[start : start + 1000]

    settings = {"C": 1 / (1e-6 * n), "standardize": standardize}
    rows = rows_from(make, memory=8 * 15 * d * d)
    assert rows.look().sample.X.shape[0] < 4 * d
    found = SoftmaxRegression(**settings).fit(rows)
    expected = SoftmaxRegression(**settings).fit(X, y)
    assert found.duality_gap_ <= 1e-6 * found.objective_
    assert abs(found.objective_ - expected.objective_) <= 2e-6 * expected.objective_
    assert found.history_[-1].passes <= 13  # 29 with the Hessian of rows that are kept only


def test_a_fit_that_is_killed_beyond_the_sum_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "TIME_FRACTION", np.inf)
    rng = np.random.default_rng(7)
    n, d = 6000, 260
    X = rng.normal(size=(n, d)).astype(np.float32)
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", X @ rng.normal(size=d) / 8 + rng.logistic(size=n) > 0)
    readings = []
    summed = few_readings.thinned_gram
    monkeypatch.setattr(few_readings, "thinned_gram", lambda *a: readings.append(len(points)) or summed(*a))

    def fit(**settings):
        points.clear()
        return SoftmaxRegression(**settings).fit(open_rows(tmp_path / "X.npy", memory=8 * 15 * d * d))

    points = []
    whole = fit(callbacks=[points.append])
    assert len(readings) == 1
    assert 1 < readings[0] < len(points) - 2

    class KilledError(Exception):
        pass

    def kill(record):
        points.append(record)
        if len(points) > readings[0] + 2:
            raise KilledError

    with pytest.raises(KilledError):
        fit(callbacks=[kill], checkpoint=tmp_path / "state")
    again = fit(checkpoint=tmp_path / "state")
    assert len(readings) == 3  # one more for the model
    assert again.coef_.tobytes() == whole.coef_.tobytes()
    assert len(again.history_) == len(whole.history_)
