"""Law: a path over C is what fits of their own would be, each certified, from fewer passes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning

from fastsoftmax import SoftmaxObjective, SoftmaxRegression
from fastsoftmax.contracts.queries import Gram
from fastsoftmax.objective import direct
from fastsoftmax.preconditioners import kronecker
from fastsoftmax.sources.array import ArraySource
from tests.estimator.test_fitted_state import state
from tests.problems import dataset, multilabel, objective
from tests.tolerance import assert_close, eps_of

CS = (3.0, 0.01, 100.0, 0.3)  # in no order
TOL = 1e-6


def soft_wine():
    X, y = dataset("wine")
    p = np.eye(3)[y] + np.random.default_rng(1).random((len(y), 3))
    return X, p / p.sum(axis=1, keepdims=True)


def classes(n, d, k):
    rng = np.random.default_rng(5)
    return rng.normal(size=(n, d)), np.arange(n) % k


def sparse(name, kind=sp.csr_array):
    X, y = dataset(name)
    return kind(np.where(np.abs(X) > 0.7, X, 0.0)), y


KINDS = {
    "full": lambda: (*dataset("wine"), {}),
    "block diagonal": lambda: (*dataset("digits"), {}),
    "float32": lambda: (dataset("digits")[0].astype(np.float32), dataset("digits")[1], {}),
    "CSR": lambda: (*sparse("wine"), {}),
    "CSC": lambda: (*sparse("digits", sp.csc_array), {}),
    "two classes": lambda: (*dataset("breast_cancer"), {}),
    "soft labels": lambda: (*soft_wine(), {}),
    "labels that do not exclude each other": lambda: (*multilabel(), {"loss": "sigmoid"}),
    "no intercept": lambda: (*dataset("wine"), {"fit_intercept": False}),
    "class weights": lambda: (*dataset("wine"), {"class_weight": "balanced"}),
    "Gram matrix": lambda: (*classes(450, 400, 80), {}),
    "diagonal": lambda: (sp.csr_array(classes(120, 2500, 4)[0]), classes(120, 2500, 4)[1], {}),
    "row space": lambda: (*classes(90, 300, 4), {}),
    "newton-cg": lambda: (*dataset("wine"), {"solver": "newton-cg"}),
    "liblinear": lambda: (*dataset("breast_cancer"), {"solver": "liblinear"}),
}


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_point_is_a_fit_of_its_own(kind, weighted):
    X, y, options = KINDS[kind]()
    weight = np.random.default_rng(3).integers(0, 4, X.shape[0]) / 2 if weighted else None
    path = SoftmaxRegression(tol=TOL, **options).fit_path(X, y, CS, sample_weight=weight)
    assert [point.C for point in path] == list(CS)
    for point in path:
        lone = SoftmaxRegression(C=point.C, tol=TOL, **options).fit(X, y, sample_weight=weight)
        for one in (point, lone):
            assert 0.0 <= one.duality_gap_ <= TOL * one.objective_
        # each bounds the other, but for the rounding of F: both are above the minimum by at most their gaps
        rounding = eps_of(X.dtype) * np.max(np.abs(X @ lone.coef_.T)) / np.sqrt(X.shape[0])
        assert point.objective_ - point.duality_gap_ <= lone.objective_ + rounding
        assert lone.objective_ - lone.duality_gap_ <= point.objective_ + rounding
        assert point.coef_.shape == lone.coef_.shape
        assert point.coef_.dtype == lone.coef_.dtype
        assert point.intercept_.shape == lone.intercept_.shape
        assert point.history_[-1].objective == point.objective_
        assert point.n_iter_.tolist() == [len(point.history_) - 1]


@pytest.mark.parametrize("kind", ["full", "CSR", "soft labels", "two classes"])
def test_the_objective_is_that_of_the_coefficients(kind):
    X, y, options = KINDS[kind]()
    weight = np.random.default_rng(3).random(X.shape[0])
    for point in SoftmaxRegression(**options).fit_path(X, y, CS, sample_weight=weight):
        value = objective(X, y, point.coef_, point.intercept_, point.C, weight)
        assert_close(point.objective_, value, n_terms=X.shape[0])


def test_no_penalty_is_the_end_of_a_path():
    X, y = multilabel()
    path = SoftmaxRegression().fit_path(X, y[:, 0], [np.inf, 1.0, np.inf])
    lone = SoftmaxRegression(C=np.inf).fit(X, y[:, 0])
    assert path[0] is path[2]
    assert path[0].duality_gap_ == pytest.approx(lone.duality_gap_, abs=TOL * lone.objective_)
    assert path[1].duality_gap_ <= TOL * path[1].objective_
    assert path[0].objective_ == pytest.approx(lone.objective_, rel=4 * TOL)


@pytest.mark.parametrize("kind", ["block diagonal", "Gram matrix", "CSC", "newton-cg"])
def test_fewer_passes_than_fits_of_their_own(kind, monkeypatch):
    monkeypatch.setattr(direct, "MAX_SECONDS", 0.0)  # in small problems a start nearby saves few passes
    X, y, options = KINDS[kind]()
    strengths = np.logspace(-2, 2, 7)
    path = SoftmaxRegression(**options).fit_path(X, y, strengths)
    lone = [SoftmaxRegression(C=C, **options).fit(X, y) for C in strengths]
    assert sum(p.history_[-1].passes for p in path) < sum(m.history_[-1].passes for m in lone)


def test_one_decomposition_serves_every_penalty(monkeypatch):
    made = []

    def spectrum(*arguments):
        made.append(arguments)
        return original(*arguments)

    original = kronecker.spectrum
    monkeypatch.setattr(kronecker, "spectrum", spectrum)
    monkeypatch.setattr(direct, "MAX_SECONDS", 0.0)  # small problems have another preconditioner
    X, y, options = KINDS["Gram matrix"]()
    SoftmaxRegression(**options).fit_path(X, y, CS)
    assert len(made) == 1


def test_blocks_serve_the_next_penalty(monkeypatch):
    X, y = dataset("digits")
    queries = []
    original = ArraySource.sum

    def counting(self, query):
        queries.append(type(query))
        return original(self, query)

    monkeypatch.setattr(ArraySource, "sum", counting)
    monkeypatch.setattr(direct, "MAX_SECONDS", 0.0)
    SoftmaxRegression().fit_path(X, y, CS)
    shared = queries.count(Gram)
    queries.clear()
    for C in CS:
        SoftmaxRegression(C=C).fit(X, y)
    assert 0 < shared <= queries.count(Gram) / 2


def test_another_penalty_of_the_same_rows():
    X, y = dataset("wine")
    one = SoftmaxObjective(X, y, l2=0.5)
    params = np.random.default_rng(0).normal(size=one.n_params)
    for l2 in (0.02, 0.0, 0.5):
        fresh, shared = SoftmaxObjective(X, y, l2=l2), one.with_l2(l2)
        value, grad = fresh.value_and_grad(params)
        assert shared.value_and_grad(params)[0] == value
        assert shared.value_and_grad(params)[1].tobytes() == grad.tobytes()
        assert shared.lower_bound(params, value, grad) == fresh.lower_bound(params, value, grad)
    assert one.l2 == 0.5
    assert one.passes == 0
    for bad in (-1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="l2"):
            one.with_l2(bad)


@pytest.mark.parametrize("l2", [1e-3, 0.1])
def test_shared_blocks_take_their_own_penalty(l2):
    X, y = dataset("digits")
    here, there = np.random.default_rng(0).normal(size=(2, 10 * 65))
    fresh = SoftmaxObjective(X, y, l2=l2)
    at_here, at_there = (fresh.preconditioner(x)(there).tobytes() for x in (here, there))
    assert at_here != at_there
    first = SoftmaxObjective(X, y).with_l2(0.1)
    first.preconditioner(here)
    second = first.with_l2(l2)
    assert second.preconditioner(there, 0.5)(there).tobytes() == at_here
    assert second.preconditioner(there, 1.0)(there).tobytes() == at_here
    assert second.preconditioner(there, 1.0)(there).tobytes() == at_there  # for the second time
    assert first.with_l2(l2).preconditioner(here, 2.0)(there).tobytes() == at_here  # more than is there


@pytest.mark.parametrize("warm_start", [False, True])
def test_the_estimator_stays_as_it_was(warm_start):
    X, y = dataset("digits")
    model = SoftmaxRegression(warm_start=warm_start)
    model.fit_path(X, y, CS)
    assert vars(model) == vars(SoftmaxRegression(warm_start=warm_start))
    model.fit(*dataset("iris"))
    before = state(model)
    model.fit_path(X, y, CS)
    assert state(model) == before
    with pytest.raises(ValueError, match="NaN"):
        model.fit_path(np.full_like(X, np.nan), y, CS)
    assert state(model) == before


def test_a_path_starts_from_the_last_fit_where_it_is_asked_to():
    X, y = dataset("digits")
    cold = SoftmaxRegression(C=0.01).fit(X, y)
    warm = SoftmaxRegression(C=0.01, warm_start=True).fit(X, y)
    first, again = (model.fit_path(X, y, [0.01])[0] for model in (cold, warm))
    assert again.history_[-1].passes < first.history_[-1].passes
    assert again.history_[0].objective == warm.objective_


def test_what_was_not_reached_is_said_once():
    X, y = dataset("digits")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        path = SoftmaxRegression(max_iter=2).fit_path(X, y, [10.0, 1000.0])
    assert [(w.category, w.filename) for w in caught] == [(ConvergenceWarning, __file__)]
    furthest = max(path, key=lambda point: point.duality_gap_ / point.objective_)
    said = str(caught[0].message)
    assert f"for 2 of 2 C, 10 to 1000, the furthest for C={furthest.C:g}, failed" in said
    assert "max_iter" in said
    with pytest.warns(ConvergenceWarning, match="lbfgs for C=1000 failed"):
        SoftmaxRegression(max_iter=2).fit_path(X, y, [1000.0])
    assert all(point.n_iter_.tolist() == [2] for point in path)


def test_callbacks_get_every_record():
    seen = []
    path = SoftmaxRegression(callbacks=[seen.append]).fit_path(*dataset("wine"), [1.0, 0.1])
    assert seen == [record for point in path[::-1] for record in point.history_]


def test_the_bits_do_not_depend_on_threads():
    X, y = dataset("digits")
    paths = [SoftmaxRegression(n_threads=n).fit_path(X, y, CS) for n in (1, 2, 4)]
    for points in zip(*paths):
        assert len({point.coef_.tobytes() for point in points}) == 1


@pytest.mark.parametrize("Cs", [[], 1.0, [1.0, 0.0], [-1.0], [np.nan], [[1.0]], ["1"], [1.0, None], 10])
def test_what_is_no_list_of_strengths(Cs):
    with pytest.raises(ValueError, match="Cs must be"):
        SoftmaxRegression().fit_path(*dataset("iris"), Cs)


def test_what_a_path_cannot_be_taken_over():
    X, y = dataset("breast_cancer")
    with pytest.raises(ValueError, match="penalty=None"):
        SoftmaxRegression(penalty=None).fit_path(X, y, [1.0])
    with pytest.raises(ValueError, match="liblinear"):
        SoftmaxRegression(solver="liblinear").fit_path(X, y, [1.0, np.inf])
    with pytest.raises(ValueError, match="tol"):
        SoftmaxRegression(tol=-1.0).fit_path(X, y, [1.0])


def test_paths_over_ratios_begin_on_the_line_through_the_last_optima():
    """Each point is a fit of its own, in fewer passes than from the last optimum."""
    X, y = dataset("digits")
    X, y, ratios, Cs = X[::3] / 16, y[::3], (1.0, 0.0), [30.0, 0.3, 3.0, 100.0]
    path = SoftmaxRegression(tol=1e-8).fit_path(X, y, Cs, l1_ratios=ratios)
    assert [(point.l1_ratio, point.C) for point in path] == [(r, C) for r in ratios for C in Cs]
    for point in path:
        one = SoftmaxRegression(C=point.C, l1_ratio=point.l1_ratio, tol=1e-10).fit(X, y)
        np.testing.assert_allclose(point.coef_, one.coef_, atol=3e-3)
        assert point.duality_gap_ <= 1e-8 * point.objective_
    last = SoftmaxRegression(C=30.0, l1_ratio=1.0, tol=1e-8, warm_start=True).fit(X, y)
    assert path[3].history_[-1].passes < last.set_params(C=100.0).fit(X, y).history_[-1].passes
    with pytest.raises(ValueError, match="l1_ratios must be"):
        SoftmaxRegression().fit_path(X, y, Cs, l1_ratios=[2.0])


def test_a_tolerance_that_float64_cannot_reach_is_said_once():
    """45 C from 1e-6 to 1e5 and tol=1e-12, as probes of embeddings have them; classes that are far apart."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 120)
    X = 3.0 * rng.normal(size=(3, 8))[y] + rng.normal(size=(120, 8))
    X *= 100.0 / np.linalg.norm(X, axis=1, keepdims=True)
    paths = {}
    for tol in (1e-8, 1e-12):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            path = SoftmaxRegression(tol=tol, max_iter=1000).fit_path(X, y, 10.0 ** np.linspace(-6, 5, 45))
        paths[tol] = path, said
    (reachable, silent), (path, said) = paths.values()
    assert silent == []
    short = [point.C for point in path if not point.duality_gap_ <= 1e-12 * point.objective_]
    assert len(short) > 1
    assert [(warning.category, warning.filename) for warning in said] == [(ConvergenceWarning, __file__)]
    assert f"for {len(short)} of 45 C, {min(short):g} to {max(short):g}" in str(said[0].message)
    assert max(point.n_iter_[0] for point in path) < 200  # they end by themselves
    passes = [sum(point.history_[-1].passes for point in points) for points in (path, reachable)]
    assert passes[0] <= 1.2 * passes[1]  # 0.9: it is worth more preconditioning
