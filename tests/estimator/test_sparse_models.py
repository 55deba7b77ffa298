"""Law: with absolute values in the penalty a fit is the minimum, by the oracle and by its own conditions."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression

import fastsoftmax
from fastsoftmax import SoftmaxRegression
from fastsoftmax.contracts import Centre, RowBlock
from fastsoftmax.objective.sparse import SparseObjective
from fastsoftmax.penalties.elastic_net import ElasticNet
from fastsoftmax.solvers import proximal_newton
from tests import naive
from tests.problems import dataset, multilabel

N, D, K = 41, 5, 4
TIGHT = 1e-10


def draw(kind="multinomial", seed=0):
    """Rows, labels and weights of an overlapping problem, small enough for the oracle."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, D)) * [1.0, 3.0, 1.0, 0.3, 1.0]
    weight = np.where(np.arange(N) % 9 == 4, 0.0, rng.uniform(0.5, 2.0, N))
    n_classes = 2 if kind == "binary" else K
    z = X @ rng.normal(size=(D, n_classes))
    y = np.argmax(z + rng.gumbel(size=z.shape), axis=1)
    if kind == "soft":
        y = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    if kind == "sigmoid":
        y = (z + rng.logistic(size=z.shape) > 0).astype(float)
    return X, y, weight


def kkt_of(model, X, y, weight, C, l1_ratio, **options):
    """The norm of the shortest subgradient at a model, by the oracle."""
    target = {"target": y, "loss": "softmax"}
    if model.loss == "sigmoid" or len(model.coef_) == 1:
        target = {"target": y if y.ndim == 2 else y[:, np.newaxis], "loss": "sigmoid"}
    elif y.ndim == 2:
        target["soft"] = True
    return naive.elastic_net_kkt(
        X, target.pop("target"), model.coef_, model.intercept_, 1.0 / (C * weight.sum()), l1_ratio,
        sample_weight=weight.tolist(), **target, **options,
    )  # fmt: skip


@pytest.mark.parametrize("l1_ratio", [1.0, 0.4])
@pytest.mark.parametrize("kind", ["multinomial", "binary", "soft", "sigmoid"])
def test_the_minimum_by_its_own_conditions(kind, l1_ratio):
    X, y, weight = draw(kind)
    loss = "sigmoid" if kind == "sigmoid" else "softmax"
    for free in (True, False):
        model = SoftmaxRegression(C=0.3, l1_ratio=l1_ratio, fit_intercept=free, loss=loss, tol=TIGHT)
        model.fit(X, y, weight)
        assert model.solver_ == "proximal-newton"
        assert model.duality_gap_ <= TIGHT * model.objective_
        assert 0 < np.count_nonzero(model.coef_) < model.coef_.size
        assert kkt_of(model, X, y, weight, 0.3, l1_ratio, fit_intercept=free) < 1e-6


@pytest.mark.parametrize("grouped", [False, True])
def test_the_minimum_by_the_oracle(grouped):
    X, y, weight = draw()
    l1_ratio, strength = (0.7, 1.0 / (0.3 * weight.sum()))
    p = np.tile([1.0, 2.0, 0.5, 1.0, 3.0], (K, 1))
    value, coef, _ = naive.elastic_net(
        X.tolist(), y.tolist(), K, strength, l1_ratio, weights=p.tolist(), grouped=grouped, n_steps=400,
        sample_weight=weight.tolist(),
    )  # fmt: skip
    model = SoftmaxRegression(
        C=0.3, l1_ratio=l1_ratio, penalty_weights=p[0], group_classes=grouped, tol=TIGHT
    ).fit(X, y, weight)
    assert model.objective_ == pytest.approx(value, rel=1e-8)
    np.testing.assert_allclose(model.coef_, coef, atol=1e-4)
    assert ((np.array(coef) == 0.0) == (model.coef_ == 0.0)).all()
    assert kkt_of(model, X, y, weight, 0.3, l1_ratio, weights=p, grouped=grouped) < 1e-6


@pytest.mark.parametrize("name", ["iris", "breast_cancer"])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
def test_the_same_as_sagas(name, l1_ratio):
    X, y = dataset(name)
    theirs = LogisticRegression(C=0.1, l1_ratio=l1_ratio, solver="saga", tol=1e-8, max_iter=20_000)
    theirs.fit(X, y)
    expected = SoftmaxRegression(C=0.1, l1_ratio=l1_ratio, tol=TIGHT).fit(X, y)
    for rows in (X.astype(np.float32), sp.csr_array(X), np.asfortranarray(X)):
        model = SoftmaxRegression(C=0.1, l1_ratio=l1_ratio, tol=1e-9).fit(rows, y)
        assert ((model.coef_ != 0.0) == (theirs.coef_ != 0.0)).all()
        np.testing.assert_allclose(model.coef_, theirs.coef_, atol=2e-4)
        assert model.objective_ == pytest.approx(expected.objective_, rel=1e-6)


def test_liblinears_intercept_is_penalised():
    X, y = dataset("breast_cancer")
    options = {"C": 0.1, "solver": "liblinear", "l1_ratio": 1.0}
    model = SoftmaxRegression(tol=TIGHT, **options).fit(X, y)
    theirs = LogisticRegression(tol=1e-8, max_iter=10_000, **options).fit(X, y)
    np.testing.assert_allclose(model.coef_, theirs.coef_, atol=1e-3)
    np.testing.assert_allclose(model.intercept_, theirs.intercept_, atol=1e-3)


def problem(seed):
    """A random objective, at most as large as the oracle likes, and a point."""
    rng = np.random.default_rng(seed)
    n, d, k = rng.integers(5, 40), rng.integers(1, 7), rng.integers(2, 5)
    X = rng.normal(size=(n, d)) * rng.uniform(0.1, 5.0, d) + rng.normal(size=d)
    loss = ["softmax", "sigmoid"][seed % 2]
    y = rng.integers(0, k, n) if loss == "softmax" else (rng.random((n, k)) < 0.4).astype(float)
    y[:k] = np.arange(k) if loss == "softmax" else np.eye(k)  # each class is observed, and no label always
    weights = rng.uniform(0.2, 3.0, d) * np.ones((k, 1))
    penalty = ElasticNet(10 ** rng.uniform(-4, 0), [1.0, 0.5, 0.9][seed % 3], weights, seed % 4 == 3)
    options = {"fit_intercept": bool(seed % 5), "loss": loss}
    centre = None
    if seed % 7 == 3 and seed % 5:
        centre = Centre(X.mean(axis=0), X.var(axis=0), np.arange(d))
    rows = RowBlock(X, y, rng.uniform(0.1, 2.0, n))
    return SparseObjective(rows, int(k), penalty, centre=centre, options=options), rng


@pytest.mark.parametrize("seed", range(40))
def test_the_gap_is_never_below_the_suboptimality(seed):
    objective, rng = problem(seed)
    best = proximal_newton.minimize(objective, np.zeros(objective.size), tol=1e-9, max_iter=200)
    assert best.gap <= 1e-8 * best.value
    for distance in (1.0, 1e-2, 1e-4):
        x = best.x + distance * rng.normal(size=best.x.size)
        value, grad = objective.value_and_grad(x)
        bound = objective.lower_bound(x, value, grad)
        assert bound <= best.value * (1.0 + 1e-12)
        assert best.value - best.gap <= value


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_the_hessians_are_the_derivatives_of_the_gradient(seed):
    objective, rng = problem(seed)
    x, v = rng.normal(size=(2, objective.size))
    step = 1e-6
    expected = objective.value_and_grad(x + step * v)[1] - objective.value_and_grad(x - step * v)[1]
    expected /= 2 * step
    np.testing.assert_allclose(objective.hessp(x, v), expected, atol=1e-7)
    matrix = objective.hessian_matrix(x)
    np.testing.assert_allclose(matrix @ v, expected, atol=1e-7)
    if seed != 3:  # of centred columns it is an estimate
        np.testing.assert_allclose(matrix.diagonal(), objective.diagonal(x), rtol=1e-9)
    places = np.flatnonzero(rng.random(objective.size) < 0.7)
    np.testing.assert_allclose(
        objective.reduced_hessian(x, places), matrix[np.ix_(places, places)], atol=1e-12
    )


def test_the_hessian_of_sparse_rows_is_that_of_dense_ones():
    X, y, weight = draw()
    X = np.where(np.abs(X) > 0.5, X, 0.0)
    penalty = ElasticNet(0.01, 0.5, np.ones((K, D)))
    places = np.array([0, 3, 6, 7, 11, 17, 20, 21, 23])
    matrices = []
    for rows in (X, fastsoftmax.data.sparse.from_scipy(sp.csr_matrix(X))):
        objective = SparseObjective(RowBlock(rows, y, weight), K, penalty)
        x = np.random.default_rng(1).normal(size=objective.size)
        matrices.append(objective.reduced_hessian(x, places))
    np.testing.assert_allclose(*matrices, atol=1e-14)


@pytest.mark.parametrize("order", [0, 6])
@pytest.mark.parametrize("grouped", [False, True])
def test_working_sets_and_long_supports_end_at_the_same_minimum(order, grouped, monkeypatch):
    """With few features at a time, and with Newton steps by conjugate gradients in place of a matrix."""
    rng = np.random.default_rng(5)
    X = sp.random_array((150, 90), density=0.1, rng=rng, format="csr")
    y = np.argmax(
        X @ np.vstack((3.0 * rng.normal(size=(6, 3)), np.zeros((84, 3)))) + rng.normal(size=(150, 3)), 1
    )
    options = {"C": 0.7, "l1_ratio": 0.9, "group_classes": grouped, "tol": 1e-9}
    expected = SoftmaxRegression(**options).fit(X.toarray(), y)
    monkeypatch.setattr(proximal_newton, "MIN_GROWTH", 4)
    monkeypatch.setattr(proximal_newton, "MATRIX_ORDER", order)
    monkeypatch.setattr(proximal_newton, "GROUPED_ORDER", order)
    model = SoftmaxRegression(**options).fit(X, y)
    assert model.objective_ == pytest.approx(expected.objective_, rel=2e-9)
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=1e-3)
    assert 0 < np.count_nonzero(model.coef_.any(axis=0)) < 60
    of_columns = model.coef_ != 0.0
    assert not grouped or (of_columns.all(axis=0) == of_columns.any(axis=0)).all()


@pytest.mark.parametrize("options", [{}, {"l1_ratio": 0.3}, {"group_classes": True}, {"fit_intercept": False},
                                     {"penalty_weights": [0.0, 1.0, 2.0, 1.0]}])  # fmt: skip
def test_below_c_min_all_penalised_coefficients_are_zero(options):
    X, y = dataset("iris")
    options = {"l1_ratio": 1.0} | options
    C = fastsoftmax.C_min(X, y, **options)
    penalised = np.asarray(options.get("penalty_weights", np.ones(4))) > 0.0
    below, above = (SoftmaxRegression(C=f * C, tol=TIGHT, **options).fit(X, y) for f in (1 - 1e-4, 1 + 1e-2))
    assert not below.coef_[:, penalised].any()
    assert above.coef_[:, penalised].any()
    assert below.coef_[:, ~penalised].all()


def test_c_min_of_squares_alone_is_refused():
    with pytest.raises(ValueError, match="l1_ratio must be above 0"):
        fastsoftmax.C_min(*dataset("iris"), l1_ratio=0.0)


def test_a_free_coefficient_is_not_penalised():
    """There is no gap then: the fit ends by the estimate."""
    X, y, weight = draw()
    p = np.ones((K, D))
    p[1, 1] = p[:, 3] = 0.0
    model = SoftmaxRegression(C=0.1, l1_ratio=1.0, penalty_weights=p, tol=TIGHT).fit(X, y, weight)
    assert model.duality_gap_ is None
    assert kkt_of(model, X, y, weight, 0.1, 1.0, weights=p) < 1e-5


def test_weights_of_the_squares_alone():
    """A column divided by √p is a column whose coefficient has the weight p."""
    X, y = dataset("iris")
    p = np.array([0.3, 1.0, 2.0, 5.0])
    weighted = SoftmaxRegression(penalty_weights=p, tol=TIGHT).fit(X, y)
    scaled = SoftmaxRegression(tol=TIGHT).fit(X / np.sqrt(p), y)
    np.testing.assert_allclose(weighted.coef_, scaled.coef_ / np.sqrt(p), atol=1e-4)
    assert weighted.objective_ == pytest.approx(scaled.objective_, rel=1e-9)


def test_without_l1_nothing_changes():
    X, y = dataset("wine")
    plain, told = SoftmaxRegression().fit(X, y), SoftmaxRegression(l1_ratio=0, group_classes=True).fit(X, y)
    assert plain.coef_.tobytes() == told.coef_.tobytes()
    unpenalised = SoftmaxRegression(C=np.inf, l1_ratio=0.5, penalty_weights=np.ones(13), max_iter=5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert unpenalised.fit(X, y).solver_ == "lbfgs"


def test_a_path_is_that_of_its_fits():
    X, y = dataset("wine")
    Cs = [1.0, 0.01, 0.1]
    seen = []
    path = SoftmaxRegression(l1_ratio=1.0, tol=TIGHT, callbacks=[seen.append]).fit_path(X, y, Cs)
    for C, point in zip(Cs, path, strict=True):
        alone = SoftmaxRegression(C=C, l1_ratio=1.0, tol=TIGHT).fit(X, y)
        assert point.objective_ == pytest.approx(alone.objective_, rel=1e-9)
        assert ((point.coef_ != 0.0) == (alone.coef_ != 0.0)).all()
    assert len(seen) == sum(len(point.history_) for point in path)
    warm = SoftmaxRegression(l1_ratio=1.0, warm_start=True).fit(X, y)
    assert warm.fit(X, y).n_iter_[0] <= 1


def test_several_threads_and_a_file_change_no_bit(tmp_path):
    X, y = dataset("wine")
    weights = np.linspace(0.5, 2.0, 13)
    one, two = (
        SoftmaxRegression(l1_ratio=0.8, penalty_weights=weights, n_threads=n).fit(X, y) for n in (1, 2)
    )
    assert one.coef_.tobytes() == two.coef_.tobytes()
    one.save(tmp_path / "model.safetensors")
    loaded = fastsoftmax.load(tmp_path / "model.safetensors")
    assert loaded.coef_.tobytes() == one.coef_.tobytes()
    assert loaded.penalty_weights == weights.tolist()


def test_a_class_without_rows_and_one_against_rest():
    X, y, weight = draw()
    weight = np.where(y == 2, 0.0, weight)
    model = SoftmaxRegression(l1_ratio=1.0, C=0.5).fit(X, y, weight)
    assert (model.predict_proba(X)[:, 2] == 0.0).all()
    Xl, yl = multilabel()
    together = SoftmaxRegression(l1_ratio=1.0, C=0.1, loss="sigmoid", tol=TIGHT).fit(Xl, yl)
    for k in range(yl.shape[1]):
        alone = SoftmaxRegression(l1_ratio=1.0, C=0.1, tol=TIGHT).fit(Xl, yl[:, k])
        np.testing.assert_allclose(together.coef_[k], alone.coef_[0], atol=1e-4)


def test_many_fits_and_a_path_without_end_are_those_of_single_ones():
    X, y = dataset("wine")
    options = {"l1_ratio": 0.9, "tol": 1e-8, "standardize": True}
    weights, Cs = np.random.default_rng(0).integers(0, 3, (2, len(y))), [0.02, 0.2]
    fits = SoftmaxRegression(**options).fit_many(X, y, weights, Cs=Cs)
    for i, C in enumerate(Cs):
        alone = SoftmaxRegression(C=C, **options).fit(X, y, weights[i])
        assert fits.coef_[i].tobytes() == alone.coef_.tobytes()
    X, y = dataset("iris")
    *_, last = SoftmaxRegression(l1_ratio=1.0).fit_path(X[50:, :2], y[50:], [np.inf, 1.0])[::-1]
    alone = SoftmaxRegression(C=np.inf).fit(X[50:, :2], y[50:])
    np.testing.assert_allclose(last.coef_, alone.coef_, rtol=1e-2)
    assert last.objective_ == pytest.approx(alone.objective_, rel=1e-6)


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_one_against_rest_is_a_model_of_each_class(class_weight):
    X, y = dataset("iris")
    options = {"C": 0.3, "l1_ratio": 0.8, "tol": 1e-9, "class_weight": class_weight}
    model = SoftmaxRegression(multi_class="ovr", **options).fit(X, y)
    for k in range(3):
        alone = SoftmaxRegression(**options).fit(X, y == k)
        np.testing.assert_allclose(model.coef_[k], alone.coef_[0], atol=1e-4)
        assert ((model.coef_[k] != 0.0) == (alone.coef_[0] != 0.0)).all()


REFUSED = {
    "a solver without": ({"solver": "lbfgs"}, "supports only 'l2'"),
    "weights of another shape": ({"penalty_weights": [1.0]}, r"penalty_weights must be \(4,\) or \(3, 4\)"),
    "negative weights": ({"penalty_weights": [1.0, 2.0, -1.0, 0.0]}, "not negative"),
    "weights of classes for groups": (
        {"penalty_weights": np.ones((3, 4)), "group_classes": True}, r"penalty_weights must be \(4,\)"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_here_says_so(case):
    options, words = REFUSED[case]
    with pytest.raises(ValueError, match=words):
        SoftmaxRegression(**{"l1_ratio": 0.5, **options}).fit(*dataset("iris"))


def test_other_ways_to_fit_say_so():
    X, y = dataset("iris")
    model = SoftmaxRegression(l1_ratio=1.0)
    with pytest.raises(ValueError, match="partial_fit is not in this version"):
        model.partial_fit(X, y, classes=[0, 1, 2])


@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
@pytest.mark.parametrize("stored", [np.asarray, sp.csr_array])
def test_intercepts_are_those_of_mean_zero(stored, l1_ratio):
    rng = np.random.default_rng(0)
    X = np.where(rng.random((150, 12)) < 0.5, rng.normal(size=(150, 12)), 0.0)
    y = rng.integers(0, 4, 150)
    weight = np.where(y == 3, 0.0, 1.0)
    for given, observed in ((None, slice(None)), (weight, slice(3))):
        model = SoftmaxRegression(l1_ratio=l1_ratio).fit(stored(X), y, given)
        assert model.intercept_[observed].sum() == pytest.approx(0.0, abs=1e-12)
    assert model.intercept_[3] == pytest.approx(-1000.0, abs=10.0)
