"""Law: every query to centred and scaled rows is answered as by rows that were centred and divided."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp

from fastsoftmax import losses
from fastsoftmax.contracts import Centre, Mixture, Params, RowBlock, queries
from fastsoftmax.contracts.points import Point
from fastsoftmax.contracts.values import Largest, ManySums
from fastsoftmax.data import validation
from fastsoftmax.objective.row_choice import ChooseRows, ScoreRows
from fastsoftmax.runtime.buffers import BufferPool
from fastsoftmax.sources.array import ArraySource
from fastsoftmax.sources.scaled import ScaledSource

N, D, K = 61, 5, 3
SCALE = np.array([1e-3, 1.0, 7.0, 1e4, 0.5])
MEAN = np.array([0.0, 3.0, -7.0, 0.0, 0.2])


def sources(kind, loss="softmax", mean=None):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D)) + 0.5
    X = np.where(X > 0, X, 0.0)
    make = sp.csr_array if kind == "CSR" else np.asarray
    target = rng.integers(0, K, N) if loss == "softmax" else rng.random((N, K))
    the_loss = losses.family(loss).for_targets(target, K)

    def source(rows):
        block = RowBlock(validation.design_matrix(make(rows)), target, rng.uniform(1, 2, N), BufferPool())
        return ArraySource(block._replace(weight=np.linspace(1, 2, N)), the_loss, K)

    if mean is None:
        return ScaledSource(source(X * SCALE), SCALE), source(X)
    return ScaledSource(source(X * SCALE), SCALE, mean), source(X - mean / SCALE)


def all_queries():
    rng = np.random.default_rng(1)

    def params(size=1.0):
        return Params(size * rng.normal(size=(K, D)), rng.normal(size=K))

    mean = rng.normal(size=D)
    centre = Centre(mean, np.ones(D), np.arange(D))
    mixture = Mixture(0.1 * rng.normal(size=K), 0.1, np.full(K, 1 / K))
    point = Point(params())
    return {
        "LossGrad": queries.LossGrad(params()),
        "Check": queries.Check(params(), params()),
        "Check, value only": queries.Check(params()),
        "LossGrads": queries.LossGrads((params(), params())),
        "Hessp": queries.Hessp(params(), params()),
        "Hessp, kept": queries.Hessp(point, params()),
        "Diagonal": queries.Diagonal(params()),
        "Gram": queries.Gram(params(), True),
        "Gram of rows": queries.Gram(None, False),
        "Gram, centred": queries.Gram(params(), False, np.float64, centre),
        "Dual": queries.Dual(params(), mixture, True),
        "Dual, value only": queries.Dual(point, mixture, False),
        "CorrectedDual": queries.CorrectedDual(point, params(1e-3), True, mean),
        "CorrectedDual, shifted": queries.CorrectedDual(params(), params(1e-3), True, None, np.full(K, 0.1)),
        "LeastGram": queries.LeastGram(params(), mean),
        "LargestNorm": queries.LargestNorm(rng.normal(size=(D + 1, 4)), mean),
        "ShiftCurvature": queries.ShiftCurvature(params(), np.full(K, 0.1)),
        "Together": queries.Together((queries.LossGrad(params()), queries.Diagonal(params()))),
        "TargetSum": queries.TargetSum(),
    }


def assert_same(found, expected):
    if isinstance(expected, ManySums):
        for one, other in zip(found.each, expected.each, strict=True):
            assert_same(one, other)
    elif isinstance(expected, Largest):
        assert found.value == pytest.approx(expected.value, rel=1e-12)
    else:
        assert (found.value, found.weight) == (pytest.approx(expected.value), expected.weight)
        assert found.shape == expected.shape
        if expected.shape == (D + 1, D + 1) or len(expected.shape) == 3:
            lower = np.tril(np.ones((D + 1, D + 1)))  # the rest is not defined
            np.testing.assert_allclose(found.coef * lower, expected.coef * lower, rtol=1e-11, atol=1e-11)
            np.testing.assert_allclose(found.intercept, expected.intercept, rtol=1e-11, atol=1e-11)
        else:
            np.testing.assert_allclose(found.joined, expected.joined, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("mean", [None, MEAN], ids=["scaled", "centred"])
@pytest.mark.parametrize("kind", ["dense", "CSR"])
@pytest.mark.parametrize("name", all_queries())
def test_an_answer_is_that_of_the_divided_rows(name, kind, mean):
    scaled, divided = sources(kind, "softmax", mean)
    query = all_queries()[name]
    if mean is not None and isinstance(query, queries.Diagonal | queries.Together):
        return  # an estimate: see below
    assert_same(scaled.sum(query), divided.sum(query))
    assert scaled.spec == divided.spec
    sample, other = scaled.sample(20), divided.sample(20)
    assert_same(sample.sum(query), other.sum(query))


def test_the_diagonal_is_estimated_in_centred_features_only():
    scaled, divided = sources("dense", mean=MEAN)
    query = all_queries()["Diagonal"]
    found, expected = scaled.sum(query), divided.sum(query)
    others = np.flatnonzero(MEAN == 0.0)
    np.testing.assert_allclose(found.coef[:, others], expected.coef[:, others], rtol=1e-12)
    np.testing.assert_allclose(found.intercept, expected.intercept, rtol=1e-12)
    for j in np.flatnonzero(MEAN):
        np.testing.assert_array_equal(found.coef[:, j], found.intercept)


def test_parameters_go_there_and_back():
    scaled, _ = sources("dense", mean=MEAN)
    params = all_queries()["LossGrad"].params
    back = scaled.of_scaled_rows(scaled.of_rows(params))
    np.testing.assert_allclose(back.coef, params.coef, rtol=1e-15)
    np.testing.assert_allclose(back.intercept, params.intercept, rtol=1e-13)


def test_every_kind_of_query_is_among_them():
    kinds = {
        kind for kind in vars(queries).values() if dataclasses.is_dataclass(kind) and hasattr(kind, "on")
    }
    assert kinds == {type(query) for query in all_queries().values()}

    @dataclasses.dataclass
    class Unknown:
        pass

    with pytest.raises(TypeError, match="no change of variables is known for the query Unknown"):
        sources("dense")[0].sum(Unknown())


def test_logits_are_kept_as_long_as_the_point_of_the_query():
    scaled, _ = sources("dense")
    point = Point(all_queries()["LossGrad"].params)
    kept = scaled.rows.block.logits._by_point
    for _ in range(2):
        scaled.sum(queries.ShiftCurvature(point, np.zeros(K)))
        assert len(kept) == 1
    del point
    assert len(kept) == 0


def test_all_rows_are_their_own_sample():
    scaled, _ = sources("dense")
    assert scaled.sample(N) is scaled


@pytest.mark.parametrize("kind", ["dense", "CSR"])
def test_rows_are_chosen_by_the_scores_of_scaled_rows(kind):
    rng = np.random.default_rng(3)
    points = (Params(rng.normal(size=(K, D)), rng.normal(size=K)),)
    inverses = (Params(rng.uniform(1, 2, (K, D)), rng.uniform(1, 2, K)),)
    query = ChooseRows(points, inverses, 0.1, 800)
    scaled, explicit = sources(kind)
    score, expected = (source.sum(ScoreRows(query)).score for source in (scaled, explicit))
    np.testing.assert_allclose(score, expected, rtol=1e-12)
    chosen, expected = (source.sum(query).rows() for source in (scaled, explicit))
    np.testing.assert_array_equal(chosen.target, expected.target)
    np.testing.assert_allclose(chosen.weight, expected.weight, rtol=1e-12)
    centred, _ = sources(kind, mean=MEAN)
    assert centred.sum(ScoreRows(query)).score.min() > 0.0
